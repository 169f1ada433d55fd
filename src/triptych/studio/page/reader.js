// The page of the API: the description in openapi.json as headings and tables.

function made(tag, text, ...children) {
  const element = document.createElement(tag);
  element.textContent = text;
  element.append(...children);
  return element;
}

function kindOf(field) {
  const { description, default: _, ...kind } = field;
  return JSON.stringify(kind).replaceAll("#/components/schemas/", "");
}

function tableOf(body) {
  const head = made("tr", "", ...["field", "default", "values"].map((name) => made("th", name)));
  const rows = Object.entries(body.properties).map(([name, field]) => {
    const usual = body.required.includes(name) ? "required" : JSON.stringify(field.default ?? null);
    return made("tr", "", ...[name, usual, kindOf(field)].map((text) => made("td", "", made("code", text))));
  });
  return made("table", "", head, ...rows);
}

const answer = await (await fetch("/api/openapi.json")).json();
const page = document.getElementById("api");
page.append(made("p", answer.info.description));
for (const [path, methods] of Object.entries(answer.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    page.append(made("h2", "", made("code", `${method.toUpperCase()} ${path}`)), made("p", operation.summary));
    const kind = operation.requestBody?.content?.["application/json"]?.schema ?? {};
    for (const one of kind.anyOf ?? [kind]) {
      const name = one.$ref?.split("/").at(-1);
      if (name) page.append(tableOf(answer.components.schemas[name]));
    }
  }
}
page.append(made("h2", "Parts of requests"));
for (const name of ["PlainPicture", "Chorale", "Played", "PlainKey"]) {
  page.append(made("h3", name), made("p", answer.components.schemas[name].description),
    tableOf(answer.components.schemas[name]));
}
