// Keeps the page as the cluster is. Without it the page is loaded anew every few seconds.
'use strict';

const state = document.getElementById('state');
const map = document.getElementById('map');

function say(kind, text) {
  document.body.className = kind;
  document.title = text;
  // Screen readers read what has changed, and only that.
  if (state.textContent !== text) state.textContent = text;
}

function show(sight) {
  if (sight.trouble) {
    say('blind', sight.title + ': ' + sight.trouble);
    return;
  }
  const drawn = new DOMParser().parseFromString(sight.picture, 'image/svg+xml').documentElement;
  map.replaceChildren(document.importNode(drawn, true));
  map.dataset.at = new Date().toISOString();
  say(sight.healthy ? 'healthy' : 'degraded', sight.title);
}

function follow() {
  const events = new EventSource('events');
  events.addEventListener('map', (e) => show(JSON.parse(e.data)));
  events.onerror = () => {
    say('blind', 'No connection to the agent: what is below is as it was before');
    // A browser gives up after a refusal, such as that of a server with too many watchers.
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 2000);
  };
}

follow();
