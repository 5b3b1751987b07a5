/** A number whose digits roll to their next value. People who want stillness see it change; others are told in words. */

export class Odometer {
  element = Object.assign(document.createElement("span"), { className: "odometer" });
  #text = "";

  constructor() {
    this.element.setAttribute("aria-hidden", "true");
  }

  set(text) {
    if (text === this.#text) return;
    if (text.length !== this.#text.length) this.element.replaceChildren(...Array.from(text, makePlace));
    this.#text = text;
    Array.from(text).forEach((character, position) => {
      const place = this.element.children[position];
      if (place.dataset.isReel) place.firstElementChild.style.transform = `translateY(${-10 * Number(character)}%)`;
    });
  }
}

function makePlace(character) {
  const place = document.createElement("span");
  if (/\d/.test(character)) {
    place.className = "odometer-digit";
    place.dataset.isReel = "yes";
    const reel = Object.assign(document.createElement("span"), { className: "odometer-reel" });
    for (let digit = 0; digit < 10; digit += 1) {
      reel.append(Object.assign(document.createElement("span"), { textContent: digit }));
    }
    place.append(reel);
  } else {
    place.textContent = character;
  }
  return place;
}
