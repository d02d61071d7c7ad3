// The dashboard: asks this host for numbers and draws them. Nothing else is loaded.

import { COLOURS, element, empty, fit, heat, keep, lines, shares, table } from "./charts.js";

const REFRESH_MS = 5000;
const POLICIES = [
  { policy: "learned", name: "learned policy", colour: "var(--c0)" },
  { policy: "uniform_holdout", name: "uniform holdout", colour: "var(--c1)" },
  { policy: "no_send_holdout", name: "never sent anything", colour: "var(--silence)" },
  { policy: "baseline", name: "baseline (shadow)", colour: "var(--c2)" },
];
const DAYS = "30";
const DECISION_ID = /^[0-9A-HJKMNP-TV-Z]{26}$/;
const at = (id) => document.getElementById(id);
let insights = null;
let drawn = ""; // what the pictures show, as text
let explained = 0; // questions asked below "Why was this sent?": only the last one is answered

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

const asked = () => ({ campaign: at("campaign").value, days: at("days").value });
const pathOf = (campaign) => `/campaigns/${encodeURIComponent(campaign)}`;
const campaignPath = () => pathOf(asked().campaign);
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

const nameOf = (policy) => POLICIES.find((one) => one.policy === policy)?.name ?? policy;

function daysOf(rows) {
  return [...new Set(rows.map((row) => row.day))].sort();
}

function drawRewards() {
  const days = daysOf(insights.rewards);
  const series = POLICIES.map((one) => ({ ...one, points: new Map(insights.rewards.filter((row) => row.policy === one.policy).map((row) => [row.day, row])) })).filter((one) => one.points.size);
  at("rewards").replaceChildren(...(days.length ? lines("Reward per decision by day and policy", days, series, number)
    : [empty("No reward is final yet. A reward becomes final when its window ends, reward.window_hours after the decision; the learner process closes it.")]));
  at("rewards-table").replaceChildren(table(["Day", "Policy", "Mean reward", "95 % interval", "Decisions"],
    insights.rewards.map((row) => [row.day, nameOf(row.policy), number(row.mean), interval(row), number(row.n)])));
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
  const all = [...totals.values()].reduce((sum, one) => sum + one, 0);
  at("contents-table").replaceChildren(table(["Content", "Decisions", "Share"], [...named, ...(totals.has("") ? [""] : [])].map((content) => [content || "silence", number(totals.get(content)), percent(totals.get(content) / all)])));
}

function drawLearning() {
  const days = daysOf(insights.learning);
  const points = (name) => new Map(insights.learning.map((row) => [row.day, { mean: row[name], n: row.decisions }]));
  const series = [{ name: "entropy", colour: "var(--c0)", points: points("entropy") }, { name: "exploration share", colour: "var(--c1)", points: points("exploration_share") }];
  at("learning").replaceChildren(...(days.length ? lines("Entropy and exploration by day", days, series, number) : [empty("No decision of the learned policy is final yet.")]));
  at("learning-table").replaceChildren(table(["Day", "Entropy", "Exploration", "Decisions"], insights.learning.map((row) => [row.day, number(row.entropy), percent(row.exploration_share), number(row.decisions)])));
}

function versionRow(model) {
  const promote = element("button", { type: "button" }, "Promote");
  promote.addEventListener("click", () => change(`${campaignPath()}/models/${model.version}/promote`, `Make version ${model.version} the champion?`));
  return element("tr", {}, element("td", {}, String(model.version)), element("td", {}, model.alias ?? ""), element("td", {}, model.parent ? String(model.parent) : "nothing"),
    element("td", {}, number(model.events_learned)), element("td", {}, model.created_at.slice(0, 16).replace("T", " ")),
    element("td", { class: model.health === "ok" ? "good wrap" : "bad wrap" }, model.health), element("td", {}, ...(model.alias === "champion" || model.health !== "ok" ? [] : [promote])));
}

function drawVersions(models) {
  keep(at("versions").tBodies[0], models.slice(0, 20), versionRow);
  at("versions").hidden = at("rollback").hidden = !models.length;
  at("versions-empty").hidden = models.length > 0;
}

function quarantineRow(one) {
  const shown = element("button", { type: "button", title: "Explain the decision" }, one.decision_id);
  shown.addEventListener("click", () => { at("receipt-id").value = one.decision_id; guarded(explain); at("receipt-form").scrollIntoView(); });
  return element("tr", {}, element("td", {}, shown), element("td", { class: "bad" }, one.reason), element("td", { class: "wrap" }, one.detail),
    element("td", {}, one.quarantined_at.slice(0, 16).replace("T", " ")));
}

function drawQuarantine(rows) {
  keep(at("quarantine").tBodies[0], rows, quarantineRow);
  at("quarantine").hidden = !rows.length;
  at("quarantine-empty").hidden = rows.length > 0;
}

// Errors stand beside what was pressed: at the top of the page nobody would see them.
async function saying(place, work, isWanted = () => true) {
  at(place).textContent = "";
  try {
    await work();
  } catch (error) {
    if (!isWanted()) return; // another question was asked meanwhile
    at(place).textContent = error.message;
    if (error instanceof NeedsKey) throw error;
  }
}

async function change(path, question) {
  if (!confirm(question)) return;
  await guarded(() => saying("versions-error", async () => { await ask(path, { method: "POST" }); await draw(); }));
}

// The options are indented lines among the sentences: many, and seldom wanted.
function paragraphs(sentences) {
  const said = sentences.filter((one) => !one.startsWith(" ")).map((one) => element("p", {}, one));
  const options = sentences.filter((one) => one.startsWith(" ")).map((one) => element("p", {}, one.trim()));
  const folded = element("details", {}, element("summary", {}, "Most likely options"), ...options);
  return said.map((one) => (one.textContent === "Most likely options:" ? folded : one));
}

// A user's latest decisions; of an id that no user has, the decision of that id.
async function decisionsOf(id) {
  const { decisions } = await ask(`/decisions?user=${encodeURIComponent(id)}&limit=10`);
  if (decisions.length) return { of: `User ${id}: the latest decisions, newest first.`, ids: decisions.map((one) => one.decision_id) };
  if (DECISION_ID.test(id)) return { of: `Decision ${id}.`, ids: [id] };
  throw new Error(`Nothing is stored about a user “${id}”, and no decision has this id.`);
}

async function explain() {
  const id = at("receipt-id").value.trim(), turn = ++explained;
  at("receipt").replaceChildren(); // nobody may take what stands there for the answer
  await saying("receipt-error", async () => {
    const { of, ids } = await decisionsOf(id);
    const found = await Promise.all(ids.map((one) => ask(`/decisions/${encodeURIComponent(one)}/explanation`)));
    const items = found.map(({ sentences }) => element("li", {}, ...paragraphs(sentences)));
    if (turn === explained) at("receipt").replaceChildren(element("p", {}, of), element("ol", {}, ...items));
  }, () => turn === explained);
}

async function draw() {
  const { campaign, days } = asked(), path = pathOf(campaign);
  const [fresh, { models }, { quarantine }] = await Promise.all([ask(`${path}/insights?days=${days}`), ask(`${path}/models`), ask(`${path}/quarantine?limit=10`)]);
  if (asked().campaign !== campaign || asked().days !== days) return; // another one was chosen meanwhile
  insights = fresh;
  at("campaign-view").hidden = false;
  drawTiles(models); drawVersions(models); drawQuarantine(quarantine);
  const shown = JSON.stringify([fresh, at("rewards").clientWidth]);
  if (shown !== drawn) drawPictures();
  drawn = shown;
}

function drawPictures() {
  fit(at("rewards").clientWidth);
  drawRewards(); drawHours(); drawContents(); drawLearning();
}

async function drawHealth() {
  const answer = await reached("/readyz", { cache: "no-store" });
  at("health").textContent = answer.ok ? "ready" : `not ready: ${(await answer.json()).detail}`;
  at("health").className = answer.ok ? "good" : "bad";
}

// What is shown is what the address says: it can be sent to somebody else, and the browser can go back.
const inAddress = () => new URLSearchParams(location.hash.slice(1));

function toAddress() {
  location.hash = new URLSearchParams(asked()).toString();
}

async function listCampaigns() {
  const { campaigns } = await ask("/campaigns"), wanted = inAddress().get("campaign"), days = inAddress().get("days") ?? DAYS;
  keep(at("campaign"), campaigns.map(({ id }) => id), (id) => element("option", {}, id));
  at("days").value = [...at("days").options].some(({ value }) => value === days) ? days : DAYS;
  at("campaign").value = wanted ?? campaigns[0]?.id ?? "";
  const isUnknown = campaigns.length > 0 && at("campaign").value === "";
  at("no-campaign").hidden = campaigns.length > 0;
  at("unknown-campaign").hidden = !isUnknown;
  at("unknown-campaign").textContent = isUnknown ? `There is no campaign “${wanted}”. Choose one above.` : "";
  return at("campaign").value !== "";
}

// Pictures of another campaign, or of other days, must not stand under the new choice.
function showAddress() {
  at("campaign-view").hidden = true;
  drawn = "";
  refresh();
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
at("campaign").addEventListener("change", toAddress);
at("days").addEventListener("change", toAddress);
addEventListener("hashchange", showAddress);
at("by-reward").addEventListener("change", drawHours);
at("rollback").addEventListener("click", () => change(`${campaignPath()}/rollback`, "Go back to the champion before the last promotion?"));
at("receipt-form").addEventListener("submit", (event) => { event.preventDefault(); guarded(explain); });

await refresh();
addEventListener("resize", () => { if (insights) guarded(draw); });
setInterval(() => { if (!document.hidden && at("key-form").hidden) refresh(); }, REFRESH_MS);
