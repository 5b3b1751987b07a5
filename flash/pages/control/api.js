/** The requests that this page makes. The cookie is sent by the browser; no script can read it. */

const ANSWER_MS = 8_000;

/** The service has refused, or has not answered: then `status` is 0. */
export class Refused extends Error {
  constructor(status, problem, retrySeconds) {
    super(problem.detail ?? "");
    this.status = status;
    this.code = problem.code ?? "unreachable";
    this.retrySeconds = retrySeconds;
  }
}

async function ask(method, path, { headers, body } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: { accept: "application/json", ...headers },
      body,
      cache: "no-store",
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (response.ok) return response.status === 204 ? null : await response.json();
  } catch (error) {
    throw new Refused(0, { detail: error.message });
  }
  const problem = await response.json().catch(() => ({}));
  throw new Refused(response.status, problem, Number(response.headers.get("retry-after") ?? 0));
}

const json = (value) => ({ headers: { "content-type": "application/json" }, body: JSON.stringify(value) });

export const readState = () => ask("GET", "/control/state");
export const readPauses = async () => (await ask("GET", "/control/pauses")).pauses;
export const pauseSale = (id, by, reason) => ask("POST", `/control/sales/${id}/pause`, json({ by, reason }));
export const resumeSale = (id, by, reason) => ask("POST", `/control/sales/${id}/resume`, json({ by, reason }));
export const logIn = (token) => ask("POST", "/control/login", { headers: { authorization: `Bearer ${token}` } });
export const logOut = () => ask("POST", "/control/logout");
