import { page } from "./page.js";

if (import.meta.env.NEXT_PUBLIC_LOG_LEVEL === "debug") console.debug("the page asks the API");
page().then((text) => (document.querySelector("main").textContent = text));
