// What the pages can do with a script and could do without: tooltips, live rows, copying, shortcuts.
// Everything here works on attributes the templates set; nothing is fetched from elsewhere and nothing is evaluated.
"use strict";
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const announce = (text) => {
    const place = document.getElementById("announce");
    if (place) place.textContent = text;
  };

  // Colours: the choice is kept in a cookie so that the server can send the page in them at once.
  for (const button of all("[data-theme-toggle]")) {
    button.addEventListener("click", () => {
      const root = document.documentElement;
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      document.cookie = `tollgate_theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
      announce(`${root.dataset.theme} colours`);
    });
  }

  // Keyboard: `/` goes to the search field, Ctrl+Enter sends the form around a text area.
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest && event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const field = all("[data-slash]").reverse().find((input) => input.offsetParent !== null);
      event.preventDefault();
      if (field) { field.focus(); field.select(); } else { location.href = "/search"; }
    }
    const area = typing && typing.matches("[data-submit-on-enter]") ? typing : null;
    if (area && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      area.form.requestSubmit();
    }
  });
  const current = document.querySelector(".nav [aria-current]");
  if (current && matchMedia("(max-width: 860px)").matches) current.scrollIntoView({ block: "nearest", inline: "center" });

  // Copying.
  const copyButton = (read, where, className = "button small copy") => {
    const button = make("button", "Copy", className);
    button.type = "button";
    button.addEventListener("click", () => copy(button, read()));
    where.append(button);
  };
  const copy = async (button, text) => {
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      announce("Copied");
    } catch {
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = before; }, 1600);
  };
  for (const block of all("[data-copy]")) {
    const code = block.textContent;
    const wrap = make("div", "", "copy-wrap");
    block.before(wrap);
    wrap.append(block);
    copyButton(() => code, wrap);
  }
  for (const line of all("[data-copy-inline]")) {
    const text = line.textContent.trim();
    copyButton(() => text, line, "button small copy-inline");
  }
  for (const button of all("[data-copy-from]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button, document.getElementById(button.dataset.copyFrom).textContent));
  }

  // A row of the list is a link to its call. What stands above that link to show a title of its own leads there, too.
  document.addEventListener("click", (event) => {
    const titled = event.target.closest(".calls td [title]");
    if (titled) titled.closest("tr").querySelector(".row-link").click();
  });

  // The SQL page: examples and column names go into the editor.
  const editor = document.querySelector("[data-submit-on-enter]");
  if (editor) {
    for (const link of all("[data-example]")) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        editor.value = link.dataset.example;
        editor.focus();
      });
    }
    for (const button of all("[data-insert]")) {
      button.addEventListener("click", () => {
        editor.setRangeText(button.dataset.insert, editor.selectionStart, editor.selectionEnd, "end");
        editor.focus();
      });
    }
  }

  // Charts: the tooltip is read from the chart's own data table.
  const tip = document.getElementById("tip");
  const armChart = (figure) => {
    const plot = figure.querySelector(".chart-plot");
    const hits = all(".hits rect", figure);
    const rows = all(".chart-data tbody tr", figure);
    const heads = all(".chart-data thead th", figure).slice(1);
    if (!plot || !tip || !rows.length) return;
    hits.forEach((hit) => { const title = hit.querySelector("title"); if (title) title.remove(); });
    let shown = -1;
    const hide = () => {
      if (hits[shown]) hits[shown].classList.remove("on");
      shown = -1;
      tip.hidden = true;
    };
    const show = (step) => {
      if (step === shown) return;
      hide();
      shown = step;
      const cells = Array.from(rows[step].cells);
      const lines = heads.map((head, index) => {
        const line = make("div", head.textContent, head.dataset.tone);
        line.append(make("b", cells[index + 1].textContent));
        return line;
      });
      tip.replaceChildren(make("p", cells[0].textContent), ...lines.reverse());
      tip.hidden = false;
      hits[step].classList.add("on");
      const box = hits[step].getBoundingClientRect();
      const left = box.right + 10 + tip.offsetWidth > innerWidth ? box.left - 10 - tip.offsetWidth : box.right + 10;
      tip.style.transform = `translate(${Math.max(4, Math.round(left))}px, ${Math.max(4, Math.round(box.top))}px)`;
    };
    const stepAt = (event) => {
      const box = plot.getBoundingClientRect();
      const step = Math.floor((event.clientX - box.left) / box.width * rows.length);
      return Math.min(rows.length - 1, Math.max(0, step));
    };
    plot.setAttribute("tabindex", "0");
    plot.addEventListener("pointermove", (event) => show(stepAt(event)));
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, Home: -rows.length, End: rows.length }[event.key];
      if (event.key === "Escape") hide();
      if (by === undefined) return;
      event.preventDefault();
      show(Math.min(rows.length - 1, Math.max(0, (shown < 0 ? rows.length - (by < 0 ? 0 : 1) : shown) + by)));
      announce(Array.from(rows[shown].cells, (cell) => cell.textContent).join(", "));
    });
  };
  all("[data-chart]").forEach(armChart);

  // The live tail: rows come as the server renders them, newest on top.
  const liveButton = document.querySelector("[data-tail]");
  if (liveButton) {
    const body = document.querySelector("[data-tail-rows]");
    const label = liveButton.querySelector("[data-tail-label]");
    const MOST_ROWS = 200;
    let source = null;
    const addRow = (event) => {
      const holder = document.createElement("template");
      holder.innerHTML = event.data;
      const row = holder.content.querySelector("tr");
      if (!row || document.getElementById(row.id)) return;
      row.classList.add("fresh");
      all("[data-none]", body).forEach((none) => none.remove());
      body.prepend(row);
      while (body.rows.length > MOST_ROWS) body.rows[body.rows.length - 1].remove();
    };
    const set = (on) => {
      liveButton.setAttribute("aria-pressed", String(on));
      label.textContent = on ? "Live" : "Paused";
      if (source) source.close();
      source = null;
      if (!on) return;
      source = new EventSource(liveButton.dataset.tail);
      source.addEventListener("row", addRow);
      source.addEventListener("open", () => { label.textContent = "Live"; });
      source.addEventListener("error", () => { label.textContent = "Reconnecting"; });
    };
    liveButton.hidden = false;
    liveButton.addEventListener("click", () => {
      const on = liveButton.getAttribute("aria-pressed") !== "true";
      set(on);
      announce(on ? "Live: new calls appear on top" : "Paused");
    });
    set(true);
    addEventListener("pagehide", () => { if (source) source.close(); });
  }

  // The overview follows the log: when calls settle, the page is fetched again and its parts are exchanged,
  // except those the reader is using.
  if (document.querySelector("[data-live-page]")) {
    const LEAST_MS = 2000;
    let due = false;
    let busy = false;
    let pause = LEAST_MS;
    const inUse = (part) => part.matches(":hover") || part.contains(document.activeElement) || part.querySelector("details[open]");
    const refresh = async () => {
      if (busy || document.hidden) { return; }
      due = false;
      busy = true;
      const begun = performance.now();
      try {
        const answer = await fetch(location.href, { headers: { "x-tollgate-refresh": "1" } });
        if (!answer.ok) return;
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (fresh.querySelector("[data-refresh]") && !document.querySelector("[data-refresh]")) {
          // The first call of all: there is nothing to exchange yet.
          location.reload();
          return;
        }
        for (const part of all("[data-refresh]")) {
          const next = fresh.querySelector(`[data-refresh="${part.dataset.refresh}"]`);
          if (!next || inUse(part)) continue;
          part.replaceChildren(...next.childNodes);
          all("[data-chart]", part).forEach(armChart);
        }
      } catch {
        // The next event tries again.
      } finally {
        pause = Math.max(LEAST_MS, 8 * (performance.now() - begun));
        setTimeout(() => { busy = false; if (due) refresh(); }, pause);
      }
    };
    const source = new EventSource("/api/v1/tail?format=pulse");
    const look = () => { due = true; refresh(); };
    source.addEventListener("pulse", look);
    // What settled between the page and the stream, or while the stream was away, was announced to nobody.
    source.addEventListener("open", look);
    document.addEventListener("visibilitychange", () => { if (!document.hidden && due) refresh(); });
    addEventListener("pagehide", () => source.close());
  }
})();
