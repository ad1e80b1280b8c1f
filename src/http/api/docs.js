"use strict";
// Shows an OpenAPI description as a page: every text goes in as text.
const make = (name, inside, attributes = {}) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  for (const part of [].concat(inside ?? [])) element.append(part);
  return element;
};
const main = document.querySelector("main");
const named = (api, schema) => schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema;
const type = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.oneOf || schema.anyOf) return (schema.oneOf || schema.anyOf).map(type).filter((text) => text !== "null").join(" or ");
  if (schema.type === "array") return `list of ${type(schema.items) || "anything"}`;
  return [].concat(schema.type ?? []).filter((text) => text !== "null").join(" or ") || "anything";
};
const fields = (api, schema) => {
  const whole = named(api, schema);
  if (!whole) return {};
  const parts = (whole.allOf || []).map((part) => fields(api, part));
  return Object.assign({}, ...parts, whole.properties || {});
};
const table = (rows) => make("table", rows.map((cells) => make("tr", cells.map((cell) => make("td", [cell ?? ""])))));
const shape = (api, schema) => {
  const inner = named(api, schema?.type === "array" ? schema.items : schema);
  const rows = Object.entries(fields(api, inner)).map(([name, field]) =>
    [make("code", [name]), type(field), named(api, field)?.description || field.description || ""]);
  return rows.length ? [table(rows)] : [];
};
const operation = (api, path, method, said) => {
  const inside = make("div", [], { class: "inside" });
  if (said.description) inside.append(make("p", [said.description]));
  if (said.parameters?.length) {
    inside.append(make("h3", ["Parameters"]), table(said.parameters.map((one) =>
      [make("code", [one.name]), one.in, one.description || ""])));
  }
  for (const [kind, content] of Object.entries(said.requestBody?.content || {})) {
    inside.append(make("h3", [`Body: ${kind} ${type(content.schema)}`]), ...shape(api, content.schema));
  }
  for (const [status, answer] of Object.entries(said.responses || {})) {
    const content = Object.values(answer.content || {})[0];
    inside.append(make("h3", [`${status} ${answer.description || ""} ${type(content?.schema)}`]));
    if (status < 400) inside.append(...shape(api, content?.schema));
  }
  const summary = make("summary", [make("b", [method.toUpperCase()]), make("code", [path]), make("span", [said.summary || ""])]);
  return make("details", [summary, inside], { class: method });
};
const show = (api) => {
  const find = make("input", [], { type: "search", placeholder: "Find an operation", "aria-label": "Find an operation" });
  main.replaceChildren(make("h1", [`${api.info.title} ${api.info.version}`]), make("p", [api.info.description || ""]),
    make("p", [make("a", ["/openapi.json"], { href: "/openapi.json" })]), find);
  const all = [];
  for (const tag of api.tags || []) {
    const group = [];
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, said] of Object.entries(methods)) {
        if (said.tags?.includes(tag.name)) group.push(operation(api, path, method, said));
      }
    }
    if (group.length) main.append(make("section", [make("h2", [tag.name]), make("p", [tag.description || ""]), ...group]));
    all.push(...group);
  }
  find.addEventListener("input", () => {
    const wanted = find.value.toLowerCase();
    for (const one of all) one.hidden = !one.textContent.toLowerCase().includes(wanted);
  });
};
fetch("/openapi.json").then((answer) => answer.json()).then(show)
  .catch((error) => main.append(make("p", [`The description could not be read: ${error}`])));
