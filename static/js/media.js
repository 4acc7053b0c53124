/* Attachments are fetched when somebody asks, never before, and tell their host nothing of this page. */

const ELEMENTS = { image: "img", audio: "audio", video: "video" };

function make(button) {
  const media = document.createElement(ELEMENTS[button.dataset.media]);
  media.referrerPolicy = "no-referrer";
  if (media.tagName === "IMG") {
    media.alt = button.closest(".attachment").querySelector(".about").textContent.trim();
  } else {
    media.controls = true;
    media.preload = "none";
  }
  const figure = document.createElement("figure");
  figure.className = "shown";
  // The focus clears what a person's preference blurs.
  figure.tabIndex = 0;
  figure.dataset.tab = "";
  media.addEventListener("error", () => {
    figure.textContent = button.closest("[data-media-failed]").dataset.mediaFailed;
  });
  media.src = button.dataset.url;
  figure.append(media);
  return figure;
}

export function start(container) {
  container.addEventListener("click", (event) => {
    const button = event.target.closest("[data-media]");
    if (!button) return;
    const attachment = button.closest(".attachment");
    const shown = attachment.querySelector("figure");
    if (shown) shown.remove();
    else attachment.append(make(button));
    button.setAttribute("aria-expanded", String(!shown));
  });
}
