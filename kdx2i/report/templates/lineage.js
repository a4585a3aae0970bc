// Where a number comes from.
const data = JSON.parse(one("#data").textContent);
const element = (tag, text = "", options = {}) => { const made = Object.assign(document.createElement(tag), options); if (text !== "") made.textContent = text; return made; };
const facts = (pairs) => {
  const list = element("dl", "", { className: "facts" });
  for (const [name, content] of pairs) {
    if (content === "" || content === null || content === undefined) continue;
    const place = element("dd");
    place.append(...[content].flat());
    list.append(element("dt", name), place);
  }
  return list;
};
const code = (text) => element("code", text);
const short = (identity) => element("code", identity.slice(0, 12), { title: identity });
const full = (value) => (Number.isFinite(value) ? String(Number(value.toPrecision(7))) : "–");
const rounded = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));

const valuesOf = (leaf, cell) => {
  const entry = leaf.values?.[cell.metric];
  if (!entry) return [];
  const before = entry.untrained === null || entry.untrained === undefined ? "" : `; ${full(entry.untrained)} before the first update`;
  const error = entry.standard_error === undefined || entry.standard_error === null ? "" : `, standard error ${full(entry.standard_error)}`;
  const images = entry.n_generated === undefined ? "" : `, ${entry.n_real ?? "–"} real and ${entry.n_generated} generated images`;
  const rows = [["Value", entry.value === null ? entry.reason ?? "none" : `${full(entry.value)}${error}${images}${before}`]];
  if (entry.classes.length) {
    const box = element("details");
    const sorted = [...entry.classes].sort(([, first], [, second]) => first - second);
    box.append(element("summary", `${sorted.length} classes, ${full(sorted[0][1])} (${sorted[0][0]}) to ${full(sorted.at(-1)[1])} (${sorted.at(-1)[0]})`));
    box.append(element("p", sorted.map(([name, value]) => `${name} ${rounded(value, cell.digits)}`).join(", "), { className: "small" }));
    rows.push(["By class", box]);
  }
  return rows;
};

const inputsOf = (leaf, seen = new Set()) => {
  const list = element("ul");
  for (const [key, identity] of leaf.inputs ?? []) {
    const input = data.leaves[key];
    const item = element("li");
    item.append(short(identity), " ", code(input.command || key));
    if (!seen.has(key) && input.inputs?.length) { seen.add(key); item.append(inputsOf(input, seen)); }
    list.append(item);
  }
  for (const [path, digest] of leaf.files ?? []) {
    const item = element("li");
    item.append(short(digest), " ", code(path));
    list.append(item);
  }
  return list;
};

const pictureOf = (leaf) => {
  if (!leaf.picture) return leaf.images ? [["Images", code(leaf.images)]] : [];
  const button = element("button", "", { type: "button", className: "picture" });
  button.dataset.zooms = leaf.picture;
  const image = document.getElementById(leaf.picture).cloneNode();
  image.removeAttribute("id");
  button.append(image);
  return [["Images", button]];
};

const logsOf = (leaf) => (leaf.inputs ?? []).map(([key]) => data.leaves[key]).concat(leaf).filter((one) => one.log).map((one) => {
  const parts = [code(one.log)];
  if (one.losses) parts.push(" ", element("a", "its losses", { href: `#${one.losses}` }));
  parts.at(-1).addEventListener?.("click", () => document.getElementById("lineage").close());
  return ["Log", parts];
});

const leafBox = (leaf, cell, open) => {
  const box = element("details", "", { className: "leaf", open });
  box.append(element("summary", leaf.seed === null || leaf.seed === undefined ? leaf.name : `Seed ${leaf.seed}`));
  if (leaf.absent) { box.append(facts([["Result", code(leaf.name)], ["", leaf.absent], ["Command", code(leaf.command)]])); return box; }
  const packages = element("details");
  packages.append(element("summary", "versions"), element("p", Object.entries(data.packages[leaf.packages]).map((pair) => pair.join(" ")).join(", "), { className: "small" }));
  box.append(facts([
    ...valuesOf(leaf, cell), ["Command", code(leaf.command)], ["Result", code(leaf.name)], ["Identity", code(leaf.identity)],
    ["Commit", code(leaf.commit)], ["Machine", leaf.machine], ["Packages", packages], ...logsOf(leaf), ["Made from", inputsOf(leaf)], ...pictureOf(leaf),
  ]));
  return box;
};

const verdictOf = (cell) => {
  if (!cell.verdict) return [];
  const paper = cell.published === null ? "nothing printed" : cell.published + (cell.note ? ` (${cell.note})` : "");
  // Departures have a list of their own below.
  const because = cell.departures.length && cell.verdict === "not comparable" ? "" : data.texts[cell.because];
  return [["Paper", paper], ["Verdict", cell.verdict + (cell.reason ? `: ${cell.reason}` : "")], ["Because", because]];
};

const showLineage = (key) => {
  const cell = data.cells[key];
  const body = one("#lineage-body");
  one("#lineage-title").textContent = cell.title;
  const interval = cell.interval ? `, 95 % interval ${rounded(cell.interval[0], cell.digits)} to ${rounded(cell.interval[1], cell.digits)}` : cell.seeds.length === 1 ? ", one seed: no interval" : "";
  const head = facts([
    ["Table", cell.table], ["Dataset", cell.dataset], ["Pixels", cell.pixels],
    ["Here", cell.mean === null ? `not computed: ${cell.absent}` : `${full(cell.mean)}${interval} (${cell.better} is better)`],
    ["Missing", cell.mean === null ? "" : cell.absent],
    ["Seeds", cell.seeds.map((seed, index) => `${seed}: ${full(cell.values[index])}`).join(", ")],
    ["Images", cell.counts],
    ["Learned", cell.learned === null ? "" : `${cell.learned ? "yes" : "no"}: ${cell.learning}`],
    ...verdictOf(cell), ["In a terminal", cell.seeds.length ? code(`kdx2i show ${cell.show.replace(/ (.*)/, " '$1'")}`) : ""],
  ]);
  body.replaceChildren(head);
  if (cell.departures.length) {
    const otherwise = element("details");
    const list = element("ul");
    list.append(...cell.departures.map((index) => element("li", data.texts[index])));
    otherwise.append(element("summary", `What is otherwise than in the paper (${cell.departures.length})`), list);
    body.append(otherwise);
  }
  body.append(...cell.leaves.map((name, index) => leafBox(data.leaves[name], cell, index === 0)));
  if (!cell.leaves.length) body.append(element("p", "No result stands behind this cell."));
  one("#lineage").showModal();
  body.scrollTop = 0;
};
