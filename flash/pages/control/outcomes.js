/** Which outcomes of checkouts and purchases are shown together, and in which order they are stacked. Pure. */

const GROUP_OF = {
  sold: "sold",
  repeated: "sold",
  issued: "issued",
  item_sold: "gone",
  sold_out: "gone",
  paused: "paused",
  overloaded: "busy",
  rate_limited: "busy",
  unavailable: "failed",
  outcome_unknown: "failed",
  internal_error: "failed",
};

/** From the bottom of the band to its top. */
export const GROUPS = ["sold", "issued", "gone", "refused", "paused", "busy", "failed"];

/** The counts of each second by group. Whatever is not listed above was refused by a rule of the shop or of HTTP. */
export function grouped(outcomes, length) {
  const groups = Object.fromEntries(GROUPS.map((group) => [group, new Array(length).fill(0)]));
  for (const [outcome, counts] of Object.entries(outcomes)) {
    const group = groups[GROUP_OF[outcome] ?? "refused"];
    counts.forEach((count, index) => (group[index] += count));
  }
  return groups;
}

/** For each group, the sum of it and of those below it. */
export function stacked(groups) {
  let below = null;
  return GROUPS.map((group) => {
    below = below ? groups[group].map((count, index) => count + below[index]) : groups[group];
    return below;
  });
}
