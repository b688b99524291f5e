import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/runbase/server/static",
    emptyOutDir: true,
    target: "es2022",
    // Browsers that know light-dark(): what it is replaced with for others ignores the colours that one chooses.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  // `runbase ui` on its default port, with `npx vite` beside it.
  server: { proxy: { "/api": "http://127.0.0.1:4400" } },
});
