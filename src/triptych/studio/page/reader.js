// The page of the API: the description in openapi.json as headings and tables.
import { element, tableOf } from "./widgets.js";

function kindOf({ description, default: _, ...kind }) {
  return JSON.stringify(kind).replaceAll("#/components/schemas/", "");
}

function fieldsOf({ properties, required }) {
  return tableOf(["field", "default", "values"], Object.entries(properties).map(([name, field]) => {
    const usual = required.includes(name) ? "required" : JSON.stringify(field.default ?? null);
    return element("tr", {}, ...[name, usual, kindOf(field)].map((text) =>
      element("td", {}, element("code", { text }))));
  }));
}

const { info, paths, components: { schemas } } = await (await fetch("/api/openapi.json")).json();
const page = document.getElementById("api");
page.append(element("p", { text: info.description }));
for (const [path, methods] of Object.entries(paths)) {
  for (const [method, { summary, requestBody }] of Object.entries(methods)) {
    page.append(element("h2", {}, element("code", { text: `${method.toUpperCase()} ${path}` })),
      element("p", { text: summary }));
    const kind = requestBody?.content?.["application/json"]?.schema ?? {};
    const names = (kind.anyOf ?? [kind]).map(({ $ref }) => $ref?.split("/").at(-1));
    page.append(...names.filter(Boolean).map((name) => fieldsOf(schemas[name])));
  }
}
page.append(element("h2", { text: "Parts of requests" }));
for (const name of ["PlainPicture", "Chorale", "Played", "PlainKey"]) {
  const { description: text } = schemas[name];
  page.append(element("h3", { text: name }), element("p", { text }), fieldsOf(schemas[name]));
}
