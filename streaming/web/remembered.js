// Avatars made in this browser: their ids are known nowhere else, so this list is the key to them.

const KEY = "visavis.faces";

/** [{id, name, warnings}], oldest first; `pending` is true while one is being made. */
export function remembered() {
  try {
    const list = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(list) ? list.filter((face) => typeof face?.id === "string" && typeof face.name === "string") : [];
  } catch { return []; } // storage is blocked, or holds something else
}
export function remember(face) { write([...remembered().filter(({ id }) => id !== face.id), face]); }
export function forget(id) { write(remembered().filter((face) => face.id !== id)); }

function write(list) {
  try { localStorage.setItem(KEY, JSON.stringify(list)); }
  catch { /* the avatar lives as long as this page */ }
}
