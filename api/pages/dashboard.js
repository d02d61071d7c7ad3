// The dashboard: asks this host for numbers and draws them. Nothing else is loaded.

import { COLOURS, element, empty, fit, heat, lines, shares } from "./charts.js";

const REFRESH_MS = 5000;
const POLICIES = [
  { policy: "learned", name: "learned policy", colour: "var(--c0)" },
  { policy: "uniform_holdout", name: "uniform holdout", colour: "var(--c1)" },
  { policy: "no_send_holdout", name: "never sent anything", colour: "var(--silence)" },
  { policy: "baseline", name: "baseline (shadow)", colour: "var(--c2)" },
];
const at = (id) => document.getElementById(id);
let insights = null;

class NeedsKey extends Error {}

// A browser's own words for a service that is away help nobody.
async function reached(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error("The service does not answer; this page goes on asking.");
  }
}

async function ask(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const answer = await reached(path, { ...options, headers, cache: "no-store" });
  const document = await answer.json();
  if (answer.status === 401 || answer.status === 403) throw new NeedsKey(document.detail);
  if (!answer.ok) throw new Error(document.detail ?? `status ${answer.status}`);
  return document;
}

const campaignPath = () => `/campaigns/${encodeURIComponent(at("campaign").value)}`;
const number = (value) => (Math.abs(value) >= 100 || Number.isInteger(value) ? value.toLocaleString("en") : Number(value.toPrecision(3)).toString());
const signed = (value) => `${value > 0 ? "+" : ""}${number(value)}`;
const percent = (value) => `${(value * 100).toFixed(1)} %`;
const interval = (one) => (one.lower === null ? "no interval yet" : `${number(one.lower)} to ${number(one.upper)}`);

function tile(title, value, words) {
  return element("div", { class: "tile" }, element("span", { class: "faint" }, title), element("b", {}, value), element("span", { class: "faint" }, words));
}

function drawTiles(models) {
  const learned = insights.overall.find((one) => one.policy === "learned");
  const champion = models.find((model) => model.alias === "champion");
  const last = insights.learning.at(-1);
  at("tiles").replaceChildren(
    learned ? tile("Reward per learned decision", number(learned.mean), `${interval(learned)}; ${number(learned.n)} decisions`)
      : tile("Reward per learned decision", "–", "no reward is final yet"),
    insights.lift ? tile("Lift of sending", signed(insights.lift.value), `${interval(insights.lift)}, against users who are never sent anything`)
      : tile("Lift of sending", "–", "needs a no_send_holdout and final rewards"),
    last ? tile("Exploring", percent(last.exploration_share), `of the decisions of ${last.day}`) : tile("Exploring", "–", "no decision is final yet"),
    champion ? tile("Serving", `version ${champion.version}`, `${number(champion.events_learned)} events learned; health: ${champion.health}`)
      : tile("Serving", "untaught", "decides evenly until the first version is published"),
  );
  const state = insights.paused ? "This campaign is paused: nothing is sent." : insights.mode === "shadow" ? "Shadow mode: the baseline is served; the learned policy only watches and learns." : "";
  at("notice").textContent = state;
  at("notice").hidden = !state;
}

function daysOf(rows) {
  return [...new Set(rows.map((row) => row.day))].sort();
}

function drawRewards() {
  const days = daysOf(insights.rewards);
  const series = POLICIES.map((one) => ({ ...one, points: new Map(insights.rewards.filter((row) => row.policy === one.policy).map((row) => [row.day, row])) })).filter((one) => one.points.size);
  at("rewards").replaceChildren(...(days.length ? lines("Reward per decision by day and policy", days, series, number)
    : [empty("No reward is final yet. A reward becomes final when its window ends, reward.window_hours after the decision; the learner process closes it.")]));
}

function drawHours() {
  const rows = insights.sends.filter((row) => row.policy === "learned"), byReward = at("by-reward").checked;
  const value = (row) => (byReward ? row.mean_reward : row.sends);
  const values = rows.map(value).filter((one) => one !== null);
  const low = byReward ? Math.min(...values) : 0, span = Math.max(...values) - low || 1;
  const cells = new Map(rows.filter((row) => value(row) !== null).map((row) => [`${row.channel} ${row.local_hour}`, {
    shown: number(value(row)), strength: (value(row) - low) / span,
    title: `${row.channel} at ${row.local_hour}:00: ${row.sends} sent, mean reward ${row.mean_reward === null ? "unknown" : number(row.mean_reward)}`,
  }]));
  const channels = [...new Set(rows.map((row) => row.channel))];
  const hours = [...new Set(rows.map((row) => row.local_hour))].sort((one, other) => one - other);
  at("hours").replaceChildren(channels.length ? heat(channels, hours, cells) : empty("The learned policy has not sent anything whose reward is final."));
}

function drawContents() {
  const rows = insights.contents.filter((row) => row.policy === "learned"), days = daysOf(rows);
  const totals = new Map();
  for (const row of rows) totals.set(row.content, (totals.get(row.content) ?? 0) + row.decisions);
  const named = [...totals.keys()].filter((content) => content !== "").sort((one, other) => totals.get(other) - totals.get(one));
  const top = named.slice(0, COLOURS.length - 1), rest = new Set(named.slice(COLOURS.length - 1));
  const counts = (isPart) => rows.filter((row) => isPart(row.content)).reduce((sum, row) => sum.set(row.day, (sum.get(row.day) ?? 0) + row.decisions), new Map());
  const parts = top.map((content, place) => ({ name: content, colour: COLOURS[place], counts: counts((one) => one === content) }));
  if (rest.size) parts.push({ name: `${rest.size} others`, colour: COLOURS.at(-1), counts: counts((one) => rest.has(one)) });
  parts.push({ name: "silence", colour: "var(--silence)", counts: counts((one) => one === "") });
  at("contents").replaceChildren(...(days.length ? shares("Shares of contents by day", days, parts) : [empty("No decision of the learned policy is final yet.")]));
}

function drawLearning() {
  const days = daysOf(insights.learning);
  const points = (name) => new Map(insights.learning.map((row) => [row.day, { mean: row[name], n: row.decisions }]));
  const series = [{ name: "entropy", colour: "var(--c0)", points: points("entropy") }, { name: "exploration share", colour: "var(--c1)", points: points("exploration_share") }];
  at("learning").replaceChildren(...(days.length ? lines("Entropy and exploration by day", days, series, number) : [empty("No decision of the learned policy is final yet.")]));
}

function versionRow(model) {
  const promote = element("button", { type: "button" }, "Promote");
  promote.addEventListener("click", () => change(`${campaignPath()}/models/${model.version}/promote`, `Make version ${model.version} the champion?`));
  return element("tr", {}, element("td", {}, String(model.version)), element("td", {}, model.alias ?? ""), element("td", {}, model.parent ? String(model.parent) : "nothing"),
    element("td", {}, number(model.events_learned)), element("td", {}, model.created_at.slice(0, 16).replace("T", " ")),
    element("td", { class: model.health === "ok" ? "good wrap" : "bad wrap" }, model.health), element("td", {}, ...(model.alias === "champion" || model.health !== "ok" ? [] : [promote])));
}

function drawVersions(models) {
  at("versions").tBodies[0].replaceChildren(...models.slice(0, 20).map(versionRow));
  at("versions").hidden = at("rollback").hidden = !models.length;
  at("versions-empty").hidden = models.length > 0;
}

function quarantineRow(one) {
  const shown = element("button", { type: "button", title: "Explain the decision" }, one.decision_id);
  shown.addEventListener("click", () => { at("receipt-id").value = one.decision_id; guarded(() => explain("decision", one.decision_id)); at("receipt-form").scrollIntoView(); });
  return element("tr", {}, element("td", {}, shown), element("td", { class: "bad" }, one.reason), element("td", { class: "wrap" }, one.detail),
    element("td", {}, one.quarantined_at.slice(0, 16).replace("T", " ")));
}

function drawQuarantine(rows) {
  at("quarantine").tBodies[0].replaceChildren(...rows.map(quarantineRow));
  at("quarantine").hidden = !rows.length;
  at("quarantine-empty").hidden = rows.length > 0;
}

async function change(path, question) {
  if (!confirm(question)) return;
  await guarded(async () => { await ask(path, { method: "POST" }); await draw(); });
}

// The options are indented lines among the sentences: many, and seldom wanted.
function paragraphs(sentences) {
  const said = sentences.filter((one) => !one.startsWith(" ")).map((one) => element("p", {}, one));
  const options = sentences.filter((one) => one.startsWith(" ")).map((one) => element("p", {}, one.trim()));
  const folded = element("details", {}, element("summary", {}, "Most likely options"), ...options);
  return said.map((one) => (one.textContent === "Most likely options:" ? folded : one));
}

async function explain(kind, id) {
  const ids = kind === "decision" ? [id] : (await ask(`/decisions?user=${encodeURIComponent(id)}&limit=10`)).decisions.map((one) => one.decision_id);
  const found = await Promise.all(ids.map((one) => ask(`/decisions/${encodeURIComponent(one)}/explanation`)));
  const items = found.map(({ sentences }) => element("li", {}, ...paragraphs(sentences)));
  at("receipt").replaceChildren(items.length ? element("ol", {}, ...items) : empty("No decision is stored about this user."));
}

async function draw() {
  const [fresh, { models }, { quarantine }] = await Promise.all([ask(`${campaignPath()}/insights?days=${at("days").value}`), ask(`${campaignPath()}/models`), ask(`${campaignPath()}/quarantine?limit=10`)]);
  insights = fresh;
  at("campaign-view").hidden = false;
  fit(at("rewards").clientWidth);
  drawTiles(models); drawRewards(); drawHours(); drawContents(); drawLearning(); drawVersions(models); drawQuarantine(quarantine);
}

async function drawHealth() {
  const answer = await reached("/readyz", { cache: "no-store" });
  at("health").textContent = answer.ok ? "ready" : `not ready: ${(await answer.json()).detail}`;
  at("health").className = answer.ok ? "good" : "bad";
}

async function listCampaigns() {
  const { campaigns } = await ask("/campaigns"), chosen = at("campaign").value || location.hash.slice(1);
  at("campaign").replaceChildren(...campaigns.map(({ id }) => element("option", {}, id)));
  if (campaigns.some(({ id }) => id === decodeURIComponent(chosen))) at("campaign").value = decodeURIComponent(chosen);
  at("no-campaign").hidden = campaigns.length > 0;
  return campaigns.length > 0;
}

// What fails is said on the page, never swallowed.
async function guarded(work) {
  try {
    await work();
    at("key-form").hidden = true;
  } catch (error) {
    if (error instanceof NeedsKey) {
      at("key-reason").textContent = error.message;
      at("key-form").hidden = false;
    } else {
      at("health").textContent = error.message;
      at("health").className = "bad";
    }
  }
}

const refresh = () => guarded(async () => { await drawHealth(); if (await listCampaigns()) await draw(); });

at("key-form").addEventListener("submit", (event) => { event.preventDefault(); sessionStorage.setItem("key", at("key").value); at("key").value = ""; refresh(); });
at("campaign").addEventListener("change", () => { location.hash = encodeURIComponent(at("campaign").value); guarded(draw); });
at("days").addEventListener("change", () => guarded(draw));
at("by-reward").addEventListener("change", drawHours);
at("rollback").addEventListener("click", () => change(`${campaignPath()}/rollback`, "Go back to the champion before the last promotion?"));
at("receipt-form").addEventListener("submit", (event) => { event.preventDefault(); guarded(() => explain(event.submitter.value, at("receipt-id").value.trim())); });

await refresh();
addEventListener("resize", () => { if (insights) guarded(draw); });
setInterval(() => { if (!document.hidden && at("key-form").hidden) refresh(); }, REFRESH_MS);
