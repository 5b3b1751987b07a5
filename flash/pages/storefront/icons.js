/** The few icons there are. They say nothing to a screen reader: what they stand for is said in words beside them. */

import { svg } from "./dom.js";

const icon = (paths) => svg`
  <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.7"
    stroke-linecap="round" stroke-linejoin="round">${paths}</svg>
`;

export const closeIcon = icon(svg`<path d="m5 5 10 10M15 5 5 15" />`);
export const searchIcon = icon(svg`<circle cx="9" cy="9" r="5.2" /><path d="m13 13 4 4" />`);
export const boltIcon = svg`
  <svg class="bolt" viewBox="0 0 20 24" aria-hidden="true"><path fill="currentColor" d="M12.6 0 0 14.2h6.4L4.6 24 18 9.2h-6.6z" /></svg>
`;
