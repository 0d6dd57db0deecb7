// Shows our page below our tab in Locust's web UI, and a note while servers start or are read back. Fills the start form with
// the load of the chosen scenario.
"use strict";
(() => {
  const { key, title } = document.currentScript.dataset;
  const root = document.getElementById("root");
  let frame = null;

  let opened = null;
  const open = () => {
    // Locust folds its "custom parameters", which contain the choice of a scenario: unfold them once per form.
    const fold = [...root.querySelectorAll("form button[aria-expanded=false]")].find((one) => one.textContent === "Custom parameters");
    if (fold && fold !== opened) {
      opened = fold;
      fold.click();
    }
  };

  const place = () => {
    open();
    const tabs = root.querySelector("[role=tablist]");
    const chosen = new URLSearchParams(location.search).get("tab") === key;
    if (!tabs || !chosen) {
      if (frame) frame.remove();
      frame = null;
      return;
    }
    const container = tabs.closest(".MuiContainer-root");
    if (frame && frame.parentElement === container) return;
    frame = document.createElement("iframe");
    frame.src = `./${key}/`;
    frame.title = title;
    frame.style.cssText = "width: 100%; height: 900px; border: 0; color-scheme: normal;";
    container.append(frame);
  };
  new MutationObserver(place).observe(root, { childList: true, subtree: true });
  place();

  // Fill in users, ramp-up and run time of the chosen scenario. React notices only what a user types: the element's own
  // setter, and an event.
  const type = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  const FIELDS = { userCount: "num_users", spawnRate: "spawn_rate", runTime: "run_time" };
  root.addEventListener("change", async ({ target }) => {
    if (target.name !== "scenario" || !target.form) return;
    const name = target.value;
    const answer = await fetch(`./${key}/load?${new URLSearchParams({ scenario: name })}`);
    if (!answer.ok || target.value !== name) return; // the start reports the file's mistakes; or the user has changed it again
    const load = await answer.json();
    for (const [field, option] of Object.entries(FIELDS)) {
      const input = target.form.elements[field];
      if (!input) continue;
      type.call(input, load[option] ?? "");
      input.dispatchEvent(new Event("input", { bubbles: true }));
    }
  });

  addEventListener("message", (event) => {
    if (frame && event.source === frame.contentWindow && Number.isFinite(event.data.height)) {
      frame.style.height = `${Math.ceil(event.data.height)}px`;
    }
  });

  const note = document.createElement("div");
  note.setAttribute("role", "status");
  note.style.cssText =
    "position: fixed; left: 50%; bottom: 56px; transform: translateX(-50%); padding: 10px 18px; border-radius: 6px; z-index: 2000;" +
    "background: #1c2128; color: #fff; font: 14px system-ui, sans-serif; box-shadow: 0 2px 8px rgb(0 0 0 / 40%);";
  note.hidden = true;
  document.body.append(note);
  const ask = async () => {
    try {
      const { doing } = await (await fetch(`./${key}/live`)).json();
      note.hidden = !doing;
      if (note.textContent !== doing) note.textContent = doing; // else it would be read out every second
    } catch {
      note.hidden = true; // Locust has ended, and its own page says so
    }
    setTimeout(ask, 1000);
  };
  ask();
})();
