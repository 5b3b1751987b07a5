// Shows /openapi.json with Swagger UI, everything from this service. Requests that are tried go to this service as well.

const dark = matchMedia("(prefers-color-scheme: dark)");

function showScheme() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

showScheme();
dark.addEventListener("change", showScheme);

window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  validatorUrl: null, // which would ask another host
  displayRequestDuration: true,
  tryItOutEnabled: true,
  filter: true,
  defaultModelsExpandDepth: 0,
  requestSnippetsEnabled: true,
});
