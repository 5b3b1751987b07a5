/** What this browser remembers between visits: no secret. Works without storage, too: then it forgets. */

const PREFIX = "flash-control-";

function read(name) {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

function write(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, value);
  } catch {
    // a browser that keeps nothing: the page works as on a first visit
  }
}

export const memory = {
  /** Whether a login is worth trying: the cookie itself cannot be seen from here. */
  get isLoggedIn() {
    return read("session") !== null;
  },
  set isLoggedIn(value) {
    write("session", value ? "1" : null);
  },
  get who() {
    return read("who") ?? "";
  },
  set who(value) {
    write("who", value);
  },
  get theme() {
    return read("theme") === "light" ? "light" : "dark";
  },
  set theme(value) {
    write("theme", value);
  },
};
