/** Icons as paths in a box of 16 by 16: fonts differ in which symbols they have. */

const PATHS = {
  home: "M2.5 7.5 8 3l5.5 4.5M4 6.8V13h3V9.5h2V13h3V6.8",
  runs: "M2.5 3.5h11v9h-11zM2.5 6.5h11M2.5 9.5h11M6 6.5v6",
  compare: "M5 3 2.5 5.5 5 8M2.5 5.5H11M11 8l2.5 2.5L11 13M13.5 10.5H5",
  trials: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM8 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z",
  artifacts: "M8 2 13.5 5v6L8 14l-5.5-3V5zM2.5 5 8 8l5.5-3M8 8v6",
  sql: "M3 4.5C3 3.4 5.2 2.5 8 2.5s5 .9 5 2-2.2 2-5 2-5-.9-5-2zM3 4.5v7c0 1.1 2.2 2 5 2s5-.9 5-2v-7M3 8c0 1.1 2.2 2 5 2s5-.9 5-2",
  reports: "M4 2.5h5.5L12.5 5.5v8H4zM9.5 2.5v3h3M6 8h4.5M6 10.5h4.5",
  settings: "M2.5 4.5h6M11.5 4.5h2M2.5 11.5h2M7.5 11.5h6M8.5 4.5a1.5 1.5 0 1 0 3 0 1.5 1.5 0 0 0-3 0zM4.5 11.5a1.5 1.5 0 1 0 3 0 1.5 1.5 0 0 0-3 0z",
  pin: "M6 2.5h4M6.7 2.5v4L5 9h6L9.3 6.5v-4M8 9v4.5",
  expand: "M9.5 3h3.5v3.5M13 3 9 7M6.5 13H3V9.5M3 13l4-4",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  auto: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  light: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M12.6 3.4l-.7.7M4.1 11.9l-.7.7",
  dark: "M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5z",
  search: "M7 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM10 10l3.5 3.5",
};

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={PATHS[name]} fill="none" stroke="currentColor" stroke-width={name === "more" ? 2 : 1.3} stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}
