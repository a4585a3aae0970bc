"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const NOISE = -1;
let subject = 0;
let answers = [];
let shownAt = 0;

const place = () => `kdx2i-study/${data.study}/${subject}`;
const trials = () => data.trials[subject - 1];
const picture = (row, request) => (row === NOISE ? data.noise : data.outputs[row][request]);
const show = (name) => { for (const id of ["start", "trial", "end"]) at(id).hidden = id !== name; };

// Progress is kept after every choice; a browser that keeps nothing still lets one finish.
const keep = () => { try { localStorage.setItem(place(), JSON.stringify(answers)); } catch { /* nothing is kept */ } };
const kept = () => {
  try {
    const found = JSON.parse(localStorage.getItem(place()) ?? "[]");
    return Array.isArray(found) ? found : [];
  } catch { return []; }
};

const step = () => {
  if (answers.length >= trials().length) { show("end"); at("save").focus(); return; }
  const [left, right, request] = trials()[answers.length];
  at("target").textContent = data.targets[request];
  at("input").src = data.inputs[request];
  at("left").querySelector("img").src = picture(left, request);
  at("right").querySelector("img").src = picture(right, request);
  at("place").textContent = `Choice ${answers.length + 1} of ${trials().length}`;
  at("progress").value = answers.length;
  at("back").disabled = answers.length === 0;
  show("trial");
  document.activeElement?.blur?.();
  shownAt = performance.now();
};
const choose = (side) => { answers.push({ trial: answers.length, choice: side, ms: Math.round(performance.now() - shownAt) }); keep(); step(); };
const back = () => { if (answers.length) { answers.pop(); keep(); step(); } };

at("who").addEventListener("submit", (event) => {
  event.preventDefault();
  subject = Number(at("subject").value);
  answers = kept();
  step();
});
for (const side of ["left", "right"]) at(side).addEventListener("click", () => choose(side));
at("back").addEventListener("click", back);
at("reopen").addEventListener("click", back);
at("save").addEventListener("click", () => {
  const text = JSON.stringify({ format: "kdx2i-answers-1", study: data.study, subject, answers }, null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${text}\n`], { type: "application/json" }));
  link.download = `answers-${String(subject).padStart(2, "0")}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
document.addEventListener("keydown", (event) => {
  if (at("trial").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const action = { ArrowLeft: () => choose("left"), ArrowRight: () => choose("right"), Backspace: back }[event.key];
  if (action) { event.preventDefault(); action(); }
});
