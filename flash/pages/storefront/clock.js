/**
 * The service's time, which decides when a sale opens, whatever the visitor's clock says.
 *
 * An answer's `now` is a little old when it arrives, so it is never ahead: of all estimates the highest is nearest.
 */

let offset = -Infinity;

export const clock = {
  get isSet() {
    return offset > -Infinity;
  },

  /** Milliseconds since 1970. */
  now() {
    return performance.now() + (offset > -Infinity ? offset : Date.now() - performance.now());
  },

  /** Take in a `now` that the service has just said. */
  hear(rfc3339) {
    const said = Date.parse(rfc3339) - performance.now();
    // A service that is set back is believed too, once it is clearly another time.
    if (said > offset || said < offset - 10_000) offset = said;
  },

  secondsUntil(rfc3339) {
    return (Date.parse(rfc3339) - clock.now()) / 1000;
  },
};
