// Markdown on standard input to HTML, with everything on that GitHub has: raw HTML and bare links.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.argv[2] + "/");
const markdown = require("markdown-it")({ html: true, linkify: true });
process.stdout.write(markdown.render(readFileSync(0, "utf8")));
