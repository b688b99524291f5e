import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/runbase/server/static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  // `runbase ui` on its default port, with `npx vite` beside it.
  server: { proxy: { "/api": "http://127.0.0.1:4400" } },
});
