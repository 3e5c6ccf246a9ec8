// Opens the dashboard of a running cluster in headless Chromium, looks at what a person would see, and keeps
// screenshots of the light and the dark form.
//
// Arguments: the URL, the directory for the screenshots, and what must be legible on the page, one text each.
// The environment's CLIENT_MODULES is the directory that puppeteer-core is installed in, CHROMIUM the browser.

import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const puppeteer = createRequire(`${process.env.CLIENT_MODULES}/`)("puppeteer-core");
const [url, directory, ...expected] = process.argv.slice(2);
const APPEAR_MS_MAX = 15000;
const SETTLE_MS = 1500;
const VIEWPORT = { width: 1360, height: 1000 };

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"],
});

let failures = 0;
function check(name, holds, seen) {
  console.log(`${holds ? "ok" : "FAIL"} ${name}${holds ? "" : `: ${seen}`}`);
  if (!holds) failures += 1;
}

async function open(scheme) {
  const page = await browser.newPage();
  const complaints = [];
  const elsewhere = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (line) => line.type() === "error" && complaints.push(line.text()));
  page.on("request", (request) => {
    if (!request.url().startsWith(new URL(url).origin) && !request.url().startsWith("data:")) {
      elsewhere.push(request.url());
    }
  });
  await page.setViewport(VIEWPORT);
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(url, { waitUntil: "domcontentloaded" });
  const legible = (texts) => texts.every((text) => document.body.innerText.includes(text));
  const appeared = await page
    .waitForFunction(legible, { timeout: APPEAR_MS_MAX }, expected)
    .then(() => true, () => false);
  const text = await page.evaluate(() => document.body.innerText);
  const missing = expected.filter((part) => !text.includes(part));
  check(`${scheme}: members and partition counts are legible`, appeared, `missing ${missing.join(", ")} in ${text}`);
  await sleep(SETTLE_MS);
  await page.screenshot({ path: `${directory}/dashboard-${scheme}.png`, fullPage: true });
  const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  check(`${scheme}: no script errors`, complaints.length === 0, complaints.join("; "));
  check(`${scheme}: nothing is loaded from elsewhere`, elsewhere.length === 0, elsewhere.join(", "));
  await page.close();
  return background;
}

try {
  const [light, dark] = [await open("light"), await open("dark")];
  check("light and dark differ", light !== dark, `${light} and ${dark}`);
} finally {
  await browser.close();
}
process.exit(failures === 0 ? 0 : 1);
