// No key is kept beyond the page, and nothing is asked but this service.
SwaggerUIBundle({
  url: "../openapi.json",
  dom_id: "#try",
  docExpansion: "list",
  filter: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
