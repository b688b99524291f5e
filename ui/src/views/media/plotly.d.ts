/** The two functions of Plotly that the page calls; its own types have 60,000 lines. */
declare module "plotly.js-basic-dist-min" {
  const library: {
    newPlot(place: HTMLElement, data: unknown[], layout: unknown, config: unknown): Promise<unknown>;
    purge(place: HTMLElement): void;
  };
  export default library;
}
