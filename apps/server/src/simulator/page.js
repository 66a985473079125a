const ticks = { sent: "✓", delivered: "✓✓", read: "✓✓", failed: "not delivered" };
const rank = { "": 0, sent: 1, failed: 1, delivered: 2, read: 3 };
const items = new Map();
let timers = {};

function typing(window, on) {
  document.querySelector(`#${window} .typing`).textContent = on ? "Ava is writing…" : "";
  clearTimeout(timers[window]);
  if (on) timers[window] = setTimeout(() => typing(window, false), 25000);
}
function message(note) {
  if (items.has(note.id)) return;
  const item = document.createElement("li"), tick = document.createElement("small");
  item.className = note.type;
  item.dataset.from = note.type === "said" ? "You" : "Ava";
  item.append(note.text, tick);
  items.set(note.id, { tick, state: "" });
  const list = document.querySelector(`#${note.channel} ol`);
  list.append(item);
  list.scrollTop = list.scrollHeight;
  if (note.type === "answer") typing(note.channel, false);
}
function progress(note) {
  const item = items.get(note.id);
  if (!item || rank[note.state] < rank[item.state]) return;
  item.state = note.state;
  item.tick.textContent = ticks[note.state];
  item.tick.className = note.state;
  item.tick.setAttribute("aria-label", note.state);
}
const feed = new EventSource("/demo/feed");
feed.onerror = () => {
  // The server refuses the session, and the browser does not try again: a reload starts a new one.
  if (feed.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 2000);
};
feed.onmessage = ({ data }) => {
  const note = JSON.parse(data);
  if (note.type === "tick") progress(note);
  else if (note.type === "typing") typing(note.channel, true);
  else message(note);
};
for (const form of document.forms) form.addEventListener("submit", event => {
  event.preventDefault();
  const input = form.querySelector("input"), text = input.value.trim();
  if (!text) return;
  input.value = "";
  fetch("/demo/say", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ channel: form.parentElement.id, text }),
  });
});
