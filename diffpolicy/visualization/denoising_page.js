// Moves the plans of every denoising widget of a page along its slider, from noise to plan. Needs nothing but a browser.
// The look (colours, widths, fading) comes from Python with the data, so that page, film and figure are alike.
(() => {
  "use strict";
  const INK = "#1f2430", PAGE = "#ffffff";
  const SECONDS_A_STEP = 0.32, LEAST_S = 2.4, MOST_S = 9, STILL_S = 0.7; // of playing; the last for readers without motion
  const NEAR_PX = 14; // how near the pointer must come to an action to mean its plan

  // Monotone cubic (Fritsch and Carlson 1980, harmonic mean as slope): exact at states, never beyond two neighbours.
  function stateAt(states, position) {
    const low = Math.min(Math.max(Math.floor(position), 0), states.length - 1), share = position - low;
    if (share === 0) return states[low];
    const from = states[low], to = states[low + 1], before = states[low - 1], after = states[low + 2];
    const square = share * share, cube = square * share;
    const whole = 3 * square - 2 * cube, start = share - 2 * square + cube, end = cube - square;
    return from.map((value, i) => {
      const change = to[i] - value;
      return value + change * whole
        + slope(before ? value - before[i] : 0, change) * start + slope(change, after ? after[i] - to[i] : 0) * end;
    });
  }

  function slope(before, after) {
    return before * after > 0 ? 2 * before * after / (before + after) : 0;
  }

  // Among many samples long lines fade, or the noise would black out the scene; `length` counts short segments.
  function lineStrength(length, samples) {
    const thinned = Math.max(0, 1.16 * Math.min(1, 1 / Math.max(length, 1e-9)) ** 1.5 - 0.16);
    return 1 - Math.min(1, Math.log(samples) / Math.log(16)) * (1 - thinned);
  }

  function decode({ path, unit_px, states, samples, horizon }) {
    const bytes = Uint8Array.from(atob(path), (letter) => letter.charCodeAt(0));
    const numbers = new DataView(bytes.buffer), size = samples * horizon * 2;
    return Array.from({ length: states }, (_, state) =>
      Float64Array.from({ length: size }, (_, i) => unit_px * numbers.getInt16(2 * (state * size + i), true)));
  }

  function start(root) {
    const part = (name) => root.querySelector(`.denoising-${name}`);
    const data = JSON.parse(part("data").textContent), { samples, horizon, side_px } = data;
    const states = decode(data), steps = data.states - 1;
    const canvas = part("scene"), slider = part("slider"), button = part("play"), scene = new Image();
    const dots = [...root.querySelectorAll(".denoising-dots i")];
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    let position = steps, plans = states[steps], chosen = -1, playing = 0, side = 0;

    function show(place) {
      position = Math.min(Math.max(place, 0), steps);
      plans = stateAt(states, position);
      const step = `step ${Math.floor(position)} of ${steps}`, level = levelAt(position);
      part("step").textContent = `Denoising ${step}`;
      part("level").textContent = level;
      slider.value = position;
      slider.setAttribute("aria-valuetext", [step, level].filter(Boolean).join(", "));
      root.style.setProperty("--denoising-share", position / steps);
      for (const dot of dots) dot.classList.toggle("passed", Number(dot.dataset.step) <= position);
      draw();
    }

    function levelAt(place) {
      if (!data.noise_levels) return "";
      const low = Math.min(Math.floor(place), steps - 1), share = place - low;
      return `noise level ${((1 - share) * data.noise_levels[low] + share * data.noise_levels[low + 1]).toFixed(2)}`;
    }

    function play() {
      if (position >= steps) show(0);
      const each_s = still.matches ? STILL_S : Math.min(Math.max(steps * SECONDS_A_STEP, LEAST_S), MOST_S) / steps;
      let clock = position, last = performance.now();
      const tick = (now) => {
        // A tab that was out of sight goes on where it was.
        clock = Math.min(clock + Math.min(now - last, 100) / 1000 / each_s, steps);
        last = now;
        const place = still.matches ? Math.floor(clock) : clock;
        if (place !== position) show(place);
        if (clock < steps) playing = requestAnimationFrame(tick);
        else pause();
      };
      playing = requestAnimationFrame(tick);
      sayPlaying();
    }

    function pause() {
      cancelAnimationFrame(playing);
      playing = 0;
      sayPlaying();
    }

    function sayPlaying() {
      button.setAttribute("aria-label", playing ? "Pause" : "Play");
      button.classList.toggle("playing", playing !== 0);
    }

    function goTo(place) {
      pause();
      show(place);
    }

    function draw() {
      const dots_px = window.devicePixelRatio || 1, width = Math.round(side * dots_px);
      if (!width) return;
      if (canvas.width !== width) canvas.width = canvas.height = width;
      const pen = canvas.getContext("2d"), band = data.band_px, whole = side_px + 2 * band;
      const px = whole / side; // workspace px of one CSS px
      // Points of print at the reference size; a small picture keeps its lines visible.
      const point = px * Math.max(side / data.reference_px, 0.7) * (100 / 72);
      pen.setTransform(width / whole, 0, 0, width / whole, band * width / whole, band * width / whole);
      pen.fillStyle = PAGE;
      pen.fillRect(-band, -band, whole, whole);
      if (scene.complete && scene.naturalWidth) pen.drawImage(scene, 0, 0, side_px, side_px);
      for (let sample = 0; sample < samples; sample++) if (sample !== chosen) drawPlan(pen, sample, point, chosen < 0 ? 1 : 0.22);
      if (chosen >= 0) drawPlan(pen, chosen, point, 0);
      drawVeil(pen, band, side_px + band);
      if (data.agent_px) drawAgent(pen, data.agent_px, data.ring_px, point);
    }

    // With an opacity of 0 the plan is the chosen one: whole, and on a light edge that lifts it off the others.
    function drawPlan(pen, sample, point, opacity) {
      const first = sample * horizon * 2, alone = opacity === 0;
      const at = (action) => [plans[first + 2 * action], plans[first + 2 * action + 1]];
      if (alone) {
        pen.beginPath();
        for (let action = 0; action < horizon; action++) pen.lineTo(...at(action));
        Object.assign(pen, { strokeStyle: PAGE, lineWidth: 5.5 * point, lineJoin: "round", globalAlpha: 0.85 });
        pen.stroke();
      }
      for (let action = 0; action + 1 < horizon; action++) {
        const [from, to] = [at(action), at(action + 1)], [colour, alpha, width] = data.lines[action];
        const length = Math.hypot(to[0] - from[0], to[1] - from[1]) / data.short_px;
        pen.globalAlpha = alone ? 1 : opacity * alpha * lineStrength(length, samples);
        if (pen.globalAlpha < 0.004) continue;
        pen.strokeStyle = colour;
        pen.lineWidth = (alone ? 1.5 : 1) * width * point;
        pen.beginPath();
        pen.moveTo(...from);
        pen.lineTo(...to);
        pen.stroke();
      }
      for (let action = 0; action < horizon; action++) {
        const [colour, alpha, width] = data.points[action];
        pen.globalAlpha = alone ? 1 : opacity * alpha;
        pen.fillStyle = colour;
        pen.beginPath();
        pen.arc(...at(action), (alone ? 1.25 : 1) * width * point / 2, 0, 2 * Math.PI);
        pen.fill();
      }
      pen.globalAlpha = 1;
    }

    function veil(pen, x0, y0, x1, y1) {
      const ramp = pen.createLinearGradient(x0, y0, x1, y1);
      for (let k = 0; k <= 8; k++) ramp.addColorStop(k / 8, `rgba(255, 255, 255, ${(k / 8) ** 1.2})`);
      return ramp;
    }

    function drawVeil(pen, band, high) {
      const whole = high + band;
      for (const [x, y, x1, y1, w, h, left, top] of [
        [0, 0, -band, 0, band, whole, -band, -band], [side_px, 0, high, 0, band, whole, side_px, -band],
        [0, 0, 0, -band, whole, band, -band, -band], [0, side_px, 0, high, whole, band, -band, side_px],
      ]) {
        pen.fillStyle = veil(pen, x, y, x1, y1);
        pen.fillRect(left, top, w, h);
      }
    }

    function drawAgent(pen, [x, y], radius, point) {
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      for (const [colour, width] of [[PAGE, 5], [INK, 2.2]]) {
        Object.assign(pen, { strokeStyle: colour, lineWidth: width * point });
        pen.stroke();
      }
      const below = y + 2.2 * radius < side_px;
      pen.font = `bold ${11 * point}px "DejaVu Sans", system-ui, sans-serif`;
      Object.assign(pen, { textAlign: "center", textBaseline: below ? "top" : "bottom", lineJoin: "round" });
      const place = [Math.min(Math.max(x, 2 * radius), side_px - 2 * radius), y + (below ? 1.35 : -1.35) * radius];
      Object.assign(pen, { strokeStyle: PAGE, lineWidth: 3.5 * point, fillStyle: INK });
      pen.strokeText("agent", ...place);
      pen.fillText("agent", ...place);
    }

    function choose(event) {
      const box = canvas.getBoundingClientRect(), px = (side_px + 2 * data.band_px) / box.width;
      const x = (event.clientX - box.left) * px - data.band_px, y = (event.clientY - box.top) * px - data.band_px;
      let nearest = -1, least = NEAR_PX * px;
      for (let i = 0; i < plans.length; i += 2) {
        const away = Math.hypot(plans[i] - x, plans[i + 1] - y);
        if (away < least) [nearest, least] = [Math.floor(i / 2 / horizon), away];
      }
      highlight(nearest);
    }

    function highlight(sample) {
      if (sample === chosen) return;
      chosen = sample;
      part("chosen").textContent = chosen < 0 ? "" : `sample ${chosen + 1} of ${samples}`;
      draw();
    }

    const moves = {
      ArrowRight: () => goTo(Math.floor(position) + 1), ArrowUp: () => goTo(Math.floor(position) + 1),
      ArrowLeft: () => goTo(Math.ceil(position) - 1), ArrowDown: () => goTo(Math.ceil(position) - 1),
      Home: () => goTo(0), End: () => goTo(steps),
      " ": () => (playing ? pause() : play()),
    };
    root.addEventListener("keydown", (event) => {
      const own = event.key === " " && event.target === button; // a button answers to space by itself
      if (own || !moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      if (!(event.repeat && event.key === " ")) moves[event.key]();
    });
    button.addEventListener("click", () => (playing ? pause() : play()));
    slider.addEventListener("input", () => goTo(Number(slider.value)));
    canvas.addEventListener("pointermove", choose);
    canvas.addEventListener("pointerdown", choose);
    canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && highlight(-1));
    scene.addEventListener("load", draw);
    scene.src = data.scene;
    new ResizeObserver(() => { side = canvas.clientWidth; draw(); }).observe(canvas);
    // Plays once when it comes into sight; who wants less motion starts it.
    const sight = new IntersectionObserver((seen) => {
      if (!seen.some((entry) => entry.isIntersecting)) return;
      sight.disconnect();
      if (!still.matches && position === steps) play();
    }, { threshold: 0.5 });
    show(steps);
    sight.observe(canvas);
    // For pages that drive it themselves.
    root.denoising = { stateAt: (place) => Array.from(stateAt(states, place)), lineStrength, goTo, play, pause };
    root.dataset.ready = "";
  }

  for (const root of document.querySelectorAll("figure.denoising:not([data-ready])")) start(root);
})();
