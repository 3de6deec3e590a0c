"use strict";
// Why a request got its tier, and the two pages that ask what would become of requests: Explain and
// What if. It stands in the page before the script that lists requests, whose `el`, `$` and `ask`
// it uses when it is called.

// --- a score and what made it --------------------------------------------------------------------

// As the classifier does it: the logistic function of the sum of value times weight.
function scored(signals) {
  const sum = signals.reduce((total, each) => total + each.value * each.weight, 0);
  return 1 / (1 + Math.exp(-sum));
}
function scale(score, boundaries) {
  const line = el("div", { class: "scale", "aria-hidden": "true" });
  const ends = [0, boundaries.moderate, boundaries.complex, 1];
  for (const [i, tier] of TIERS.entries()) {
    const part = el("i");
    part.style.left = `${100 * ends[i]}%`; part.style.width = `${100 * (ends[i + 1] - ends[i])}%`;
    part.style.background = `var(--${tier})`;
    line.append(part);
  }
  const mark = el("b");
  mark.style.left = `calc(${100 * score}% - 1.5px)`;
  line.append(mark);
  return el("div", {}, line, el("p", { class: "soft" },
    `score ${score.toFixed(3)}; moderate from ${boundaries.moderate}, complex from ${boundaries.complex}`));
}
function weighed(signals) {
  if (!signals.length) return el("p", {}, "No signal: without evidence a request is moderate.");
  const added = signals.map((each) => ({ ...each, adds: each.value * each.weight }))
    .sort((a, b) => Math.abs(b.adds) - Math.abs(a.adds));
  const most = Math.max(...added.map((each) => Math.abs(each.adds)), 1e-9);
  const number = (n) => el("td", { class: "num" }, n.toFixed(3).replace("-", "−"));
  const signed = (n) => (n < 0 ? "−" : "+") + Math.abs(n).toFixed(3);
  const bar = (adds) => {
    const length = 50 * Math.abs(adds) / most, fill = el("i", { class: adds < 0 ? "less" : "" });
    fill.style.width = `${length}%`; fill.style.left = `${adds < 0 ? 50 - length : 50}%`;
    return el("span", { class: "adds" }, fill);
  };
  const sum = added.reduce((total, each) => total + each.adds, 0);
  return table(["signal", "value#", "weight#", "adds#", ""], [
    ...added.map((each) => el("tr", {}, el("td", {}, each.name.replaceAll("_", " ")), number(each.value), number(each.weight),
      el("td", { class: "num" }, signed(each.adds)), el("td", {}, bar(each.adds)))),
    el("tr", { class: "sum" }, el("td", {}, "sum"), el("td"), el("td"), el("td", { class: "num" }, signed(sum)), el("td")),
  ], "narrow");
}
function needs(estimate, features) {
  const wants = features.length ? `needs ${features.join(", ")}; ` : "";
  return `${wants}about ${plural(estimate.input_tokens, "token")} in, ${whole.format(estimate.output_tokens)} out${estimate.output_assumed ? " (assumed)" : ""}`;
}
// A column whose name ends in # holds numbers.
function table(columns, rows, kind) {
  const heads = columns.map((name) => el("th", { class: name.endsWith("#") ? "num" : "" }, name.replace("#", "")));
  return el("table", { class: kind ?? "" }, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows));
}
const tierCell = (name) => el("td", { class: "tier", "data-tier": name }, name);

// --- asking ----------------------------------------------------------------------------------------

// What the server says to a JSON document; an error of ours or of the line as { error: text }.
async function post(path, body, headers) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json", ...headers }, body });
  } catch (failure) { return { error: String(failure.message ?? failure) }; }
  if (answer.status === 401) { demand(); return { error: "Log in first." }; }
  let said;
  try { said = await answer.json(); } catch { return { error: `status ${answer.status}` }; }
  return answer.ok ? { said } : { error: `${answer.status} ${said.error?.code ?? ""}: ${said.error?.message ?? ""}` };
}
// One question at a time: the button waits, and what was told before goes.
async function asking(form, told, question, answered) {
  const button = form.querySelector("button");
  if (button.disabled) return;
  button.disabled = true;
  told.replaceChildren(el("p", { class: "soft" }, "Asking…"));
  const { said, error } = await question();
  button.disabled = false;
  told.replaceChildren(...(error ? [el("p", { class: "bad" }, error)] : answered(said)));
}

// --- Explain ---------------------------------------------------------------------------------------

function explainForm() {
  const text = $("x-text").value, headers = {};
  if ($("x-tier").value) headers["x-sentinel-tier"] = $("x-tier").value;
  if ($("x-policy").value.trim()) headers["x-arbstr-policy"] = $("x-policy").value.trim();
  const body = text.trimStart().startsWith("{") ? text
    : JSON.stringify({ model: $("x-model").value.trim() || null, messages: [{ role: "user", content: text }] });
  return asking($("explain"), $("x-told"), () => post("v1/explain", body, headers), explanation);
}
function explanation(said) {
  const { verdict, policy, plan, candidates } = said;
  const why = { explicit: "the request names it", alias: "its model stands for it", model: `it names the model ${said.model}`,
    default: "it names neither tier nor model", auto: "the classifier decided" }[said.reason] ?? said.reason;
  const facts = [
    ...(policy ? fact("policy", `${policy.name}, ${policy.binding ? "named: it binds" : "by a keyword: it prefers"}`) : []),
    ...fact("request", needs(said.estimate, said.features)),
    ...fact("first attempt", said.cost === null ? null : `$${said.cost.toFixed(8)}`),
    ...fact("asked", said.drawn ? "drawn by weight" : "cheapest first"),
    ...fact("tried", `${whole.format(plan.retries)} ${plan.retries === 1 ? "retry" : "retries"}, ${plural(plan.fallbacks, "fallback")}; ${plan.attempt_timeout_seconds} s an attempt, ${plan.deadline_seconds} s in all`),
  ];
  const rows = candidates.map((each) => el("tr", { class: each.left_out ? "soft" : "" }, el("td", {}, `${each.provider} / ${each.model}`), tierCell(each.tier),
    el("td", { class: "num" }, each.left_out ? "–" : `${(100 * each.share).toFixed(1)} %`),
    el("td", { class: "num" }, each.cost === null ? each.left_out ? "–" : "unknown" : each.cost.toFixed(8)),
    el("td", { class: each.state === "available" ? "" : "bad" }, each.state + (each.seconds_left ? `, ${each.seconds_left.toFixed(0)} s left` : "")),
    el("td", {}, each.left_out ?? "")));
  return [
    el("h2", {}, el("span", { class: "tier", "data-tier": said.tier }, said.tier), el("span", { class: "soft" }, ` ${why}`)),
    verdict && verdict.tier !== said.tier ? el("p", {}, `The classifier's tier is ${verdict.tier}, where nobody may serve it.`) : "",
    said.retry_after === null ? "" : el("p", { class: "bad" }, `Everybody is in back-off: the answer would be 503 for ${said.retry_after.toFixed(0)} s.`),
    verdict ? scale(verdict.score, said.boundaries) : "", verdict ? weighed(verdict.signals) : "",
    el("h3", {}, "What it takes"), el("dl", {}, ...facts),
    el("h3", {}, "Who would be asked"), table(["candidate", "tier", "first#", "cost $#", "state", "left out"], rows),
  ];
}

// --- What if ---------------------------------------------------------------------------------------

const money = (n) => `$${n.toFixed(n && Math.abs(n) < 0.1 ? 6 : 2)}`;
const about = (n) => n > 99 || Number.isInteger(n) ? whole.format(Math.round(n)) : n.toFixed(1);
const change = (before, after) => !before || Math.abs(after - before) < 1e-9 * before ? "" : ` (${after < before ? "−" : "+"}${(100 * Math.abs(after - before) / before).toFixed(1)} %)`;

function whatIfForm() {
  const range = $("w-since").value;
  const body = JSON.stringify({ config: $("w-config").value, ...(range ? { range } : { since: 0 }) });
  return asking($("what-if"), $("w-told"), () => post("v1/replay", body), trial);
}
function trial(said) {
  const told = said.result, where = { request_log: "the request log", memory: "memory" }[said.source];
  if (!told.requests) return [el("p", {}, `No request of this time is in ${where}.`)];
  const { low, high } = told.cost, codes = Object.keys({ ...told.refused_before, ...told.refused });
  const spread = money(low) === money(high) ? "" : `95 % of all draws end between ${money(low)} and ${money(high)}`;
  return [
    el("h2", {}, `${plural(told.requests, "request")} of ${where}`),
    el("p", { class: "soft" }, `${clock(told.since, true)} to ${clock(told.until, true)}; ${whole.format(told.kept)} keep whoever served them, ${whole.format(told.drawn)} would be drawn anew`),
    said.older_left_out ? el("p", { class: "warn" }, "There were more: these are the newest. tiergate replay looks at all of them.") : "",
    el("h3", {}, "Cost"),
    el("p", { id: "w-cost" }, `${money(told.cost.before)} before, ${money(told.cost.after)} after${change(told.cost.before, told.cost.after)}`),
    spread ? el("p", { class: "soft" }, spread) : "",
    el("h3", {}, "Tiers"), moves(told),
    ...(codes.length ? [el("h3", {}, "Refused"), table(["code", "before#", "after#"], codes.map((code) =>
      el("tr", {}, el("td", { class: "mono" }, code), ...numbers(told.refused_before[code] ?? 0, told.refused[code] ?? 0))), "narrow")] : []),
    el("h3", {}, "Load"),
    table(["candidate", "requests#", "after#", "tokens#", "after#", "cost $#", "after#"], told.loads.map((each) => el("tr", {},
      el("td", {}, `${each.provider} / ${each.model}`), ...numbers(each.requests_before, each.requests_after, each.tokens_before, each.tokens_after),
      ...[each.cost_before, each.cost_after].map((n) => el("td", { class: "num" }, n.toFixed(6)))))),
    ...(told.notes.length ? [el("h3", {}, "What is assumed, and what is not known"), el("ul", {}, ...told.notes.map((note) => el("li", {}, note)))] : []),
  ];
}
const numbers = (...each) => each.map((n) => el("td", { class: "num" }, about(n)));
// Rows are the tiers as they were, columns as they would be.
function moves(told) {
  const names = Object.keys(told.tiers_before).filter((name) => told.tiers_before[name] || told.tiers_after[name]);
  const count = new Map(told.moves.map((each) => [`${each.before ?? "refused"} ${each.after ?? "refused"}`, each.requests]));
  const rows = names.map((before) => el("tr", {}, el("td", { class: "tier", "data-tier": before }, before),
    ...names.map((after) => el("td", { class: before === after ? "num same" : "num" }, about(count.get(`${before} ${after}`) ?? 0))),
    el("td", { class: "num" }, about(told.tiers_before[before] ?? 0))));
  const sums = el("tr", { class: "sum" }, el("td", {}, "after"), ...names.map((name) => el("td", { class: "num" }, about(told.tiers_after[name] ?? 0))), el("td"));
  return table(["from, to", ...names.map((name) => `${name}#`), "before#"], [...rows, sums], "narrow");
}

addEventListener("DOMContentLoaded", () => {
  options("x-tier", TIERS);
  $("explain").querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); explainForm(); });
  $("what-if").querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); whatIfForm(); });
  $("w-file").addEventListener("change", async () => { if ($("w-file").files[0]) $("w-config").value = await $("w-file").files[0].text(); });
});
