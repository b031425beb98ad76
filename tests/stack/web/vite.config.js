import { defineConfig } from "vite";

export default defineConfig({
  envPrefix: "NEXT_PUBLIC_",
  server: { host: process.env.HOST ?? "127.0.0.1", port: Number(process.env.PORT ?? 3000), strictPort: true },
});
