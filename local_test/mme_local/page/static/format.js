// Numbers as people read them: three digits, a unit, a dash for what is not known.

export const NONE = "–";
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

const known = (value) => typeof value === "number" && Number.isFinite(value);

function digits(value) {
  if (value >= 100 || value === 0) return value.toFixed(0);
  return value.toFixed(value >= 10 ? 1 : 2);
}

/** 1.50 MiB */
export function bytes(value) {
  if (!known(value)) return NONE;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value.toFixed(0) : digits(value)} ${UNITS[unit]}`;
}

/** 1.84 ms, 2.10 s */
export function ms(value) {
  if (!known(value)) return NONE;
  return value >= 1000 ? `${digits(value / 1000)} s` : `${digits(value)} ms`;
}

/** 94.2 % */
export function percent(share) {
  if (!known(share)) return NONE;
  return `${share === 1 ? "100" : (share * 100).toFixed(1)} %`;
}

/** 12,345 */
export function count(value) {
  return known(value) ? value.toLocaleString("en-US") : NONE;
}

/** 45 s, 3 min 05 s, 2 h 10 min */
export function seconds(value) {
  if (!known(value)) return NONE;
  const whole = Math.max(0, Math.floor(value));
  if (whole < 60) return `${whole} s`;
  const pad = (number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`;
}

/** 12 s ago */
export function ago(time, now) {
  if (!known(time)) return "never";
  return now - time < 1 ? "just now" : `${seconds(now - time)} ago`;
}

/** 13:05:09, of a time in seconds. */
export function clock(time) {
  return known(time) ? new Date(time * 1000).toLocaleTimeString("en-GB") : NONE;
}

/** A metric of training, which may be of any size. */
export function metric(value) {
  return known(value) ? value.toLocaleString("en-US", { maximumSignificantDigits: 6 }) : NONE;
}

/** Chicago_IL of Chicago_IL.tar.gz, where room is short. */
export function short(targetModel) {
  return targetModel.replace(/\.tar\.gz$/, "");
}
