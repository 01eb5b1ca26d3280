/** The course of a run as a picture: one bar per phase, from the power-on to the marker. Pure. */

export interface Phase {
  readonly name: string;
  /** Seconds since the power-on. */
  readonly fromS: number;
  readonly toS: number;
}

export interface RunPicture {
  readonly title: string;
  readonly phases: readonly Phase[];
  /** What else happened, as marks below the bars. */
  readonly events: readonly { readonly atS: number; readonly what: string }[];
}

const WIDTH = 1000;
const LEFT = 20;
const BAR = 26;
const ROW = 15;
const COLOURS = ['#4e79a7', '#f28e2b', '#59a14f', '#e15759', '#b07aa1', '#76b7b2', '#9c755f'];

export function drawRun({ title, phases, events }: RunPicture): string {
  const end = Math.max(1, ...phases.map(({ toS }) => toS), ...events.map(({ atS }) => atS));
  const x = (seconds: number): number => round(LEFT + (seconds / end) * (WIDTH - 2 * LEFT));
  const height = 90 + phases.length * (BAR + 4) + events.length * ROW;
  const bars = phases.map(({ name, fromS, toS }, index) => {
    const y = 50 + index * (BAR + 4);
    const label = `${name} ${(toS - fromS).toFixed(1)} s`;
    // a bar too narrow for its label has it on the side where there is room
    const outside = x(toS) + 8 * label.length > WIDTH ? { at: x(fromS) - 5, anchor: 'end' } : { at: x(toS) + 5, anchor: 'start' };
    return [
      `<rect x="${x(fromS)}" y="${y}" width="${round(Math.max(1, x(toS) - x(fromS)))}" height="${BAR}" fill="${COLOURS[index % COLOURS.length]}"/>`,
      `<text x="${outside.at}" y="${y + 17}" text-anchor="${outside.anchor}">${escaped(label)}</text>`,
    ].join('');
  });
  const below = 64 + phases.length * (BAR + 4);
  const marks = events.map(({ atS, what }, index) => {
    const y = below + index * ROW + 12;
    const right = x(atS) > WIDTH * 0.6;
    return [
      `<line x1="${x(atS)}" y1="46" x2="${x(atS)}" y2="${y}" stroke="#999" stroke-width="0.5"/>`,
      `<text class="e" x="${x(atS) + (right ? -3 : 3)}" y="${y}" text-anchor="${right ? 'end' : 'start'}">${atS.toFixed(1)} s ${escaped(what)}</text>`,
    ].join('');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}">`,
    '<style>text{font:13px sans-serif;fill:#222}.e{font-size:11px;fill:#555}.t{font-size:16px;font-weight:bold}</style>',
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text class="t" x="${LEFT}" y="28">${escaped(title)}: ${end.toFixed(1)} s</text>`,
    ...bars,
    ...marks,
    '</svg>',
    '',
  ].join('\n');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
