// The dashboard's script: takes the node's event stream and draws it. Whatever the stream says is only ever set as
// text or as a number, never as markup.
(function () {
  'use strict';

  const HISTORY_MAX = 120; // samples of a sparkline: two minutes
  const EVENTS_MAX = 200; // lines of the log
  const TICKS_MAX = 1024; // arcs per ring; beyond that one stands for several partitions
  const SILENCE_MS = 3500; // a stream that is silent for longer is called broken
  const RETRY_MS_MAX = 5000;
  const SVG = 'http://www.w3.org/2000/svg';
  const STATES = { up: ['good', '\u25cf', 'Up'], suspect: ['wait', '\u25d0', 'Suspect'], down: ['bad', '\u2715', 'Down'],
    leaving: ['wait', '\u2192', 'Leaving'] };
  const LEVELS = { error: ['bad', '\u2715 Error'], warning: ['wait', '\u25b2 Warning'], warn: ['wait', '\u25b2 Warning'] };

  const $ = (id) => document.getElementById(id);
  const state = { status: null, nodes: {}, ring: [], history: {}, chosen: null, last: 0, retry: 500, source: null, timer: 0 };

  // ---- small helpers ----
  function element(name, attributes, text) {
    const made = document.createElement(name);
    for (const key in attributes || {}) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function shape(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    return made;
  }
  const known = (value) => typeof value === 'number' && isFinite(value);
  const words = (value) => (value === undefined || value === null ? '\u2013' : String(value));
  function count(value) {
    if (!known(value)) return '\u2013';
    if (value < 10000) return Math.round(value).toLocaleString('en');
    const units = [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']].find((unit) => value >= unit[0]);
    return (value / units[0]).toPrecision(3) + '\u202f' + units[1];
  }
  function bytes(value) {
    if (!known(value)) return '\u2013';
    const units = ['B', 'KB', 'MB', 'GB', 'TB'];
    let at = 0;
    while (value >= 1024 && at < units.length - 1) { value /= 1024; at += 1; }
    return (at && value < 100 ? value.toPrecision(3) : Math.round(value)) + '\u202f' + units[at];
  }
  function latency(us) {
    if (!known(us)) return '\u2013';
    return us < 1000 ? Math.round(us) + '\u202f\u00b5s' : (us / 1000).toPrecision(3) + '\u202fms';
  }
  const percent = (ratio) => (known(ratio) ? (ratio * 100).toFixed(ratio >= 0.9995 || ratio === 0 ? 0 : 1) + '\u202f%' : '\u2013');
  function members() {
    return ((state.status && state.status.members) || []).slice()
      .sort((a, b) => String(a.name).localeCompare(String(b.name), 'en', { numeric: true }));
  }
  function colour(name) {
    const at = members().findIndex((member) => member.name === name);
    if (at < 0) return 'var(--track)';
    return at < 8 ? 'var(--c' + at + ')' : 'hsl(' + Math.round(at * 137.5) % 360 + ' 55% 55%)';
  }

  // ---- figures ----
  function figures() {
    const nodes = Object.values(state.nodes);
    const sum = (field) => nodes.reduce((total, node) => total + (known(node[field]) ? node[field] : 0), 0);
    const worst = (field) => Math.max(...nodes.map((node) => (node.latency_us || {})[field]).filter(known));
    const ops = sum('ops_per_second');
    let hits = 0, weight = 0;
    for (const node of nodes) {
      if (!known(node.hit_ratio)) continue;
      // Weighted by traffic; a cluster at rest counts every node alike.
      const share = (node.ops_per_second || 0) + 1e-6;
      hits += node.hit_ratio * share;
      weight += share;
    }
    const ratio = weight ? hits / weight : undefined;
    remember('', ops);
    for (const name in state.nodes) remember('/' + name, state.nodes[name].ops_per_second || 0);
    $('ops').textContent = count(ops);
    $('p99').textContent = latency(worst('p99'));
    $('p50').textContent = 'p50 ' + latency(worst('p50')) + ', slowest node';
    $('hits').textContent = percent(ratio);
    $('hits-bar').style.width = (known(ratio) ? ratio * 100 : 0) + '%';
    $('keys').textContent = count(sum('keys'));
    $('connections').textContent = count(sum('connections')) + ' client connections';
    $('memory').textContent = bytes(sum('memory_bytes'));
    $('memory-note').textContent = 'on ' + nodes.length + (nodes.length === 1 ? ' node' : ' nodes');
    spark($('ops-spark'), state.history[''], 240, 48);
  }
  function remember(name, value) {
    const samples = state.history[name] || (state.history[name] = []);
    samples.push(value);
    if (samples.length > HISTORY_MAX) samples.shift();
  }
  function spark(svg, samples, width, height) {
    if (!samples || samples.length < 2) return svg.replaceChildren();
    const top = Math.max(1, ...samples) * 1.1;
    const step = width / (HISTORY_MAX - 1);
    const from = width - step * (samples.length - 1);
    const points = samples.map((value, at) => (from + at * step).toFixed(1) + ' ' + (height - 2 - (value / top) * (height - 4)).toFixed(1));
    const line = 'M' + points.join('L');
    svg.replaceChildren(
      shape('path', { class: 'area', d: line + 'V' + height + 'H' + from.toFixed(1) + 'Z' }),
      shape('path', { class: 'line', d: line }));
  }

  // ---- members ----
  function badge(member) {
    const [tone, mark, text] = STATES[member.state] || ['wait', '?', words(member.state)];
    const made = element('span', { class: 'badge ' + tone });
    made.append(element('span', { 'aria-hidden': 'true' }, mark + ' '), text);
    return made;
  }
  function link(address, text) {
    const made = /^[\w.:[\]-]+$/.test(String(address)) ? element('a', { href: 'http://' + address + '/' }, text) : element('span', {}, text);
    return made;
  }
  function row(member) {
    const figure = (member.state !== 'down' && state.nodes[member.name]) || {};
    const made = element('tr', { class: member.state === 'down' ? 'gone' : '' });
    const name = element('td');
    const dot = element('span', { class: 'dot', 'aria-hidden': 'true' });
    dot.style.setProperty('--of', colour(member.name));
    const roles = [];
    if (state.status.leader === member.name) roles.push('leader');
    else if (member.voter) roles.push('voter');
    if (state.status.node === member.name) roles.push('this page');
    name.append(dot, ' ', link(member.http, words(member.name)), element('div', { class: 'role' }, roles.join(', ')));
    const standing = element('td');
    standing.append(badge(member));
    const addresses = element('td');
    const list = element('div', { class: 'addresses' });
    list.append('RESP ' + words(member.resp), element('br'), 'HTTP ' + words(member.http));
    addresses.append(list);
    const trend = element('td');
    const svg = shape('svg', { class: 'spark', viewBox: '0 0 72 22', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    spark(svg, state.history['/' + member.name], 72, 22);
    trend.append(svg);
    const delays = figure.latency_us || {};
    const number = (text) => element('td', { class: 'number' }, text);
    made.append(name, standing, addresses, number(count(figure.ops_per_second)), trend, number(latency(delays.p50)),
      number(latency(delays.p99)), number(percent(figure.hit_ratio)), number(count(figure.keys)),
      number(bytes(figure.memory_bytes)), number(count(figure.connections)));
    return made;
  }
  function spread() {
    const all = members();
    const most = Math.max(1, ...all.map((one) => (one.primaries || 0) + (one.replicas || 0) + (one.learners || 0)));
    $('spread').replaceChildren(...all.map((one) => {
      const made = element('li');
      const bar = element('div', { class: 'bar', 'aria-hidden': 'true' });
      bar.style.setProperty('--of', colour(one.name));
      for (const [field, kind] of [['primaries', 'primary'], ['replicas', 'replica'], ['learners', 'learner']]) {
        const part = element('i', { class: kind });
        part.style.width = ((one[field] || 0) / most) * 100 + '%';
        bar.append(part);
      }
      const text = words(one.primaries) + ' primary, ' + words(one.replicas) + ' replica' +
        (one.learners ? ', ' + one.learners + ' catching up' : '');
      made.append(element('span', { class: 'name' }, words(one.name)), bar, element('span', { class: 'count' }, text));
      return made;
    }));
  }
  function summary() {
    const it = state.status;
    const text = [members().length + ' members', 'leader ' + words(it.leader), 'map epoch ' + words(it.epoch),
      words(it.partitions) + ' partitions \u00d7 ' + words(it.replication_factor)];
    if (it.under_replicated) text.push(it.under_replicated + ' under-replicated');
    text.push(it.settled ? 'settled' : 'moving partitions');
    $('summary').textContent = text.join(' \u00b7 ');
    document.title = 'HyperCache \u00b7 ' + words(it.node);
  }

  // ---- the ring ----
  function arc(from, to, inner, outer) {
    const at = (share, radius) => {
      const angle = share * 2 * Math.PI - Math.PI / 2;
      return (160 + radius * Math.cos(angle)).toFixed(2) + ' ' + (160 + radius * Math.sin(angle)).toFixed(2);
    };
    // A whole circle cannot be one arc: its ends would coincide.
    if (to - from > 0.9999) return arc(from, from + 0.5, inner, outer) + arc(from + 0.5, from + 0.9998, inner, outer);
    const large = to - from > 0.5 ? 1 : 0;
    return 'M' + at(from, outer) + 'A' + outer + ' ' + outer + ' 0 ' + large + ' 1 ' + at(to, outer) +
      'L' + at(to, inner) + 'A' + inner + ' ' + inner + ' 0 ' + large + ' 0 ' + at(from, inner) + 'Z';
  }
  // Neighbours of one owner are one arc. `owner` gives [node, is it still learning] or null.
  function track(ring, owner, inner, outer, parts) {
    const size = ring.length;
    for (let from = 0; from < size;) {
      const first = owner(ring[from]);
      let to = from + 1;
      while (to < size && String(owner(ring[to])) === String(first)) to += 1;
      if (first) {
        const [name, learning] = first;
        const dim = state.chosen && state.chosen !== name;
        const path = shape('path', { d: arc(from / size, to / size, inner, outer), class: dim ? 'dim' : learning ? 'learning' : '' });
        path.style.fill = colour(name);
        const title = shape('title', {});
        const [low, high] = [ring[from].partition, ring[to - 1].partition];
        title.textContent = (low === high ? 'Partition ' + low : 'Partitions ' + low + ' to ' + high) + ': ' + name + (learning ? ', catching up' : '');
        path.append(title);
        parts.push(path);
      }
      from = to;
    }
  }
  function drawRing() {
    let ring = state.ring;
    if (!ring.length) return;
    const total = ring.length;
    const stride = Math.ceil(total / TICKS_MAX);
    if (stride > 1) ring = ring.filter((_, at) => at % stride === 0);
    const copies = Math.min(4, Math.max(2, (state.status && state.status.replication_factor) || 2)) - 1;
    const parts = [];
    track(ring, (one) => (one.primary ? [one.primary, false] : null), 116, 156, parts);
    const width = copies === 1 ? 12 : 8;
    for (let copy = 0; copy < copies; copy += 1) {
      const outer = 111 - copy * (width + 3);
      parts.push(shape('circle', { cx: 160, cy: 160, r: outer - width / 2, fill: 'none', stroke: 'var(--track)', 'stroke-width': width }));
      track(ring, (one) => {
        const synced = (one.in_sync || []).filter((name) => name !== one.primary);
        if (copy < synced.length) return [synced[copy], false];
        const learner = (one.learners || [])[copy - synced.length];
        return learner ? [learner, true] : null;
      }, outer - width, outer, parts);
    }
    const share = state.chosen ? ring.filter((one) => one.primary === state.chosen).length * stride : total;
    const big = shape('text', { x: 160, y: 168 });
    big.textContent = Math.min(share, total);
    const small = shape('text', { x: 160, y: 190, class: 'small' });
    small.textContent = state.chosen ? 'primaries of ' + state.chosen : 'partitions';
    $('ring').replaceChildren(...parts, big, small);
    const per = members().map((one) => one.name + ' ' + state.ring.filter((part) => part.primary === one.name).length);
    $('ring').setAttribute('aria-label', total + ' partitions by primary: ' + per.join(', '));
  }
  function legend() {
    const names = members().map((one) => one.name);
    const shown = Array.from($('legend').querySelectorAll('button'), (button) => button.dataset.name);
    // Rebuilt only when members change, so that the keyboard's focus survives an update.
    if (names.join('\n') !== shown.join('\n')) {
      if (!names.includes(state.chosen)) state.chosen = null;
      $('legend').replaceChildren(...names.map((name) => {
        const button = element('button', { type: 'button', 'aria-pressed': 'false', 'data-name': name });
        const dot = element('span', { class: 'dot', 'aria-hidden': 'true' });
        dot.style.setProperty('--of', colour(name));
        button.append(dot, name);
        button.addEventListener('click', () => {
          state.chosen = state.chosen === name ? null : name;
          legend();
          drawRing();
        });
        const item = element('li');
        item.append(button);
        return item;
      }));
    }
    for (const button of $('legend').querySelectorAll('button')) {
      button.setAttribute('aria-pressed', String(button.dataset.name === state.chosen));
    }
  }

  // ---- events ----
  function log(one) {
    const list = $('events');
    // After a reconnection the node tells the recent events again.
    const identity = one.time_ms + ' ' + one.text;
    if (Array.from(list.children).some((item) => item.dataset.identity === identity)) return;
    const empty = list.querySelector('.empty');
    if (empty) empty.remove();
    const [tone, text] = LEVELS[String(one.level).toLowerCase()] || ['good', '\u25cf Notice'];
    const when = new Date(known(one.time_ms) ? one.time_ms : Date.now());
    const item = element('li', { 'data-identity': identity });
    item.append(element('time', { datetime: when.toISOString() }, when.toLocaleTimeString('en-GB')),
      element('span', { class: 'level ' + tone }, text), element('span', { class: 'words' }, words(one.text)));
    list.prepend(item);
    while (list.children.length > EVENTS_MAX) list.lastChild.remove();
  }

  // ---- the stream ----
  function connection(tone, mark, text) {
    $('connection').className = 'badge ' + tone;
    $('connection-mark').textContent = mark;
    if ($('connection-text').textContent !== text) $('connection-text').textContent = text;
  }
  function live() {
    state.last = Date.now();
    state.retry = 500;
    document.body.classList.remove('stale');
    $('banner').hidden = true;
    connection('good', '\u25cf', 'Live');
  }
  function broken() {
    document.body.classList.toggle('stale', Boolean(state.status));
    connection('bad', '\u25cc', 'Reconnecting');
    if (!state.status) return;
    if ($('banner').hidden) {
      const others = members().filter((one) => one.name !== state.status.node && one.state !== 'down');
      const age = element('span', { id: 'banner-age', 'aria-hidden': 'true' });
      $('banner').replaceChildren('No news from ' + words(state.status.node) + ' ', age, '. What is shown is the last that was known.');
      if (others.length) $('banner').append(' The same page on:', ...others.map((one) => link(one.http, words(one.name))));
      $('banner').hidden = false;
    }
    $('banner-age').textContent = 'for ' + Math.round((Date.now() - state.last) / 1000) + ' s';
  }
  function take(handler) {
    return (event) => {
      let data;
      try { data = JSON.parse(event.data); } catch (error) { return console.warn('not JSON', error); }
      live();
      handler(data);
    };
  }
  function onRing(data) {
    const ring = Array.isArray(data) ? data : data.ring;
    if (!Array.isArray(ring)) return;
    state.ring = ring;
    drawRing();
  }
  function onStatus(data) {
    const before = members().map((one) => one.name).join('\n');
    state.status = data.status || state.status;
    state.nodes = data.nodes || {};
    if (!state.status) return;
    summary();
    figures();
    $('members').replaceChildren(...members().map(row));
    spread();
    legend();
    if (data.ring) onRing(data.ring);
    else if (before !== members().map((one) => one.name).join('\n')) drawRing();
  }
  function open() {
    clearTimeout(state.timer);
    if (state.source) state.source.close();
    state.last = state.last || Date.now();
    const source = state.source = new EventSource('/api/events/stream');
    source.addEventListener('open', () => connection('good', '\u25cf', 'Live'));
    source.addEventListener('status', take(onStatus));
    source.addEventListener('ring', take(onRing));
    source.addEventListener('log', take((data) => (Array.isArray(data) ? data : [data]).forEach(log)));
    source.addEventListener('error', () => {
      broken();
      // The browser retries a stream that broke but not one that was refused; one own timer serves both.
      source.close();
      clearTimeout(state.timer);
      state.timer = setTimeout(open, state.retry);
      state.retry = Math.min(state.retry * 2, RETRY_MS_MAX);
    });
  }
  setInterval(() => {
    if (Date.now() - state.last < SILENCE_MS) return;
    broken();
    // Connected but silent, as after the machine slept: begin anew.
    if (state.source && state.source.readyState === EventSource.OPEN) { state.last = Date.now() - SILENCE_MS; open(); }
  }, 1000);
  open();
})();
