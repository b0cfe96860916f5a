// Pages of latency reports in headless Chromium: node check.mjs MODULES PAGES [PICTURES]
//
// MODULES: a folder with playwright-core. PAGES: a folder of .html files. PICTURES: where to put a
// screenshot of each page and look. A page must show its own numbers, ask for nothing, print no
// message, fit its window, be readable in every look, and be usable by keyboard alone.
import { createRequire } from 'node:module'
import { mkdirSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const [modules, folder, pictures] = process.argv.slice(2)
const { chromium } = createRequire(join(resolve(modules), '/'))('playwright-core')

const LOOKS = {
  light: { viewport: { width: 1100, height: 800 }, colorScheme: 'light' },
  dark: { viewport: { width: 1100, height: 800 }, colorScheme: 'dark' },
  phone: { viewport: { width: 390, height: 800 }, colorScheme: 'light', isMobile: true },
  'dark phone': { viewport: { width: 320, height: 640 }, colorScheme: 'dark', isMobile: true },
}
const LEAST_CONTRAST = 4.5 // WCAG 2.2, 1.4.3
const LEAST_LETTERS = 8.5 // pixels on a phone of 390

let failures = 0
function check(holds, what) {
  if (holds) return
  failures += 1
  console.error(`not so: ${what}`)
}

// What the page says and what its data say, as text, in the page.
function figures() {
  const short = (seconds) => {
    const ms = 1000 * seconds
    return ms < 10 ? ms.toFixed(3) : ms.toFixed(1)
  }
  const median = (values) => {
    const sorted = [...values].sort((a, b) => a - b)
    const half = sorted.length >> 1
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
  }
  return [...document.querySelectorAll('section.report')].map((section) => {
    const report = JSON.parse(section.querySelector('script.data').textContent)
    const table = section.querySelector('table') // the summary comes first
    const heads = [...table.querySelectorAll('thead th')].map((cell) => cell.textContent)
    const rows = [...table.querySelectorAll('tbody tr')].map((row) =>
      Object.fromEntries([...row.children].map((cell, i) => [heads[i], cell.textContent])),
    )
    const expected = report.cases.map((found) => ({
      bytes: found.file_bytes.toLocaleString('en-US'),
      'p50 ms': short(median(found.times_s)),
      'p95 ms': short(found.warm.p95_s),
      ...(found.cold.length && { 'load ms': short(median(found.cold.map((start) => start.load_s))) }),
      ...(found.accuracy && { 'top-1': `${(100 * found.accuracy.top1).toFixed(2)} %` }),
    }))
    const shown = rows.map((row, i) =>
      Object.fromEntries(Object.keys(expected[i]).map((key) => [key, row[key]])),
    )
    const warnings = [...section.querySelectorAll('.warnings li')].map((item) => item.textContent)
    return {
      shown,
      expected,
      names: rows.map((row) => row.model),
      paths: report.cases.map((found) => found.path.split('/').pop()),
      warnings: [warnings, report.warnings],
      command: [section.querySelector('pre').textContent, report.command],
      pictures: section.querySelectorAll('svg').length,
      cases: report.cases.length,
    }
  })
}

// Texts whose colour is too close to what lies behind them.
function faint(least) {
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number)
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((value) => {
      const share = value / 255
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * x + 0.7152 * y + 0.0722 * z
  }
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor)
      if (colour.length === 3 || colour[3] > 0) return colour
    }
    return [255, 255, 255]
  }
  const found = new Set()
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement
    if (!walker.currentNode.data.trim() || element.closest('script, style, title')) continue
    const style = getComputedStyle(element)
    const svg = element.closest('svg')
    let back = behind(svg ? svg.parentElement : element)
    if (svg && element.classList.contains('number')) {
      back = channels(getComputedStyle(element.previousElementSibling).fill)
    }
    const one = luminance(channels(svg ? style.fill : style.color))
    const two = luminance(back)
    const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05)
    if (contrast < least) found.add(`${walker.currentNode.data.trim().slice(0, 40)} ${contrast.toFixed(2)}`)
  }
  return [...found]
}

function smallest() {
  const sizes = [...document.querySelectorAll('svg text')].map((text) => {
    const svg = text.closest('svg')
    return parseFloat(getComputedStyle(text).fontSize) * (svg.clientWidth / svg.viewBox.baseVal.width)
  })
  return Math.min(...sizes.filter((size) => size > 0))
}

// Words of one picture that lie on one another.
function crossing() {
  const found = []
  for (const svg of document.querySelectorAll('svg')) {
    // Points of a diagram may lie on one another.
    const boxes = [...svg.querySelectorAll('text:not(.number)')].map((text) => [text.textContent, text.getBoundingClientRect()])
    for (const [i, [one, a]] of boxes.entries()) {
      for (const [two, b] of boxes.slice(i + 1)) {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left)
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)
        // Boxes have room above and below their letters.
        if (across > 1 && down > a.height / 3) found.push(`${one} / ${two}`)
      }
    }
  }
  return found
}

// What Tab reaches, by name; each must show that it has the focus.
async function tabbed(page, most) {
  const found = []
  for (let i = 0; i < most; i += 1) {
    await page.keyboard.press('Tab')
    const at = await page.evaluate(() => {
      const element = document.activeElement
      const style = getComputedStyle(element)
      return {
        what: element.getAttribute('role') || element.localName,
        outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
      }
    })
    if (at.what === 'body') break
    found.push(at)
  }
  return found
}

async function opened(browser, file, options, media) {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  const url = pathToFileURL(file).href
  page.on('console', (message) => check(false, `${file} prints nothing: ${message.text()}`))
  page.on('pageerror', (error) => check(false, `${file} has no error: ${error}`))
  page.on('dialog', (dialog) => check(false, `${file} asks nothing: ${dialog.message()}`))
  page.on('request', (request) => check(request.url() === url, `${file} asks for ${request.url()}`))
  if (media) await page.emulateMedia(media)
  await page.goto(url)
  return page
}

async function checkLook(browser, name, file, look) {
  const page = await opened(browser, file, LOOKS[look])
  const where = `${name}, ${look}`
  const same = (left, right) => JSON.stringify(left) === JSON.stringify(right)
  for (const part of await page.evaluate(figures)) {
    check(same(part.shown, part.expected), `${where}: figures ${JSON.stringify(part)}`)
    check(same(...part.warnings), `${where}: warnings ${JSON.stringify(part.warnings)}`)
    check(same(...part.command), `${where}: command ${JSON.stringify(part.command)}`)
    check(part.names.every((text, i) => text.includes(part.paths[i])), `${where}: ${part.names}`)
    check(part.pictures >= 2, `${where}: ${part.pictures} pictures`)
  }
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
  check(over <= 0, `${where}: ${over} pixels too wide`)
  const weak = await page.evaluate(faint, LEAST_CONTRAST)
  check(weak.length === 0, `${where}: faint text ${weak.join('; ')}`)
  const crossed = await page.evaluate(crossing)
  check(crossed.length === 0, `${where}: words cross: ${crossed.join('; ')}`)
  if (look === 'phone') {
    const size = await page.evaluate(smallest)
    check(size >= LEAST_LETTERS, `${where}: letters of ${size.toFixed(1)} pixels`)
  }
  if (pictures) {
    await page.screenshot({ path: join(pictures, `${name}-${look.replace(' ', '-')}.png`), fullPage: true })
  }
  await page.context().close()
}

async function checkKeyboard(browser, name, file) {
  const page = await opened(browser, file, LOOKS.light)
  const reached = await tabbed(page, 200)
  const counts = await page.evaluate(() => ({
    region: [...document.querySelectorAll('[role=region]')].filter((e) => e.checkVisibility()).length,
    summary: document.querySelectorAll('summary').length,
    pre: document.querySelectorAll('pre').length,
  }))
  for (const [what, count] of Object.entries(counts)) {
    const found = reached.filter((at) => at.what === what).length
    check(found === count, `${name}: Tab reaches ${found} of ${count} ${what}`)
  }
  check(reached[0]?.what === 'a', `${name}: Tab begins at the link to the numbers`)
  check(reached.every((at) => at.outlined), `${name}: the focus shows everywhere`)
  const folded = page.locator('details').last()
  const before = await folded.evaluate((details) => details.open)
  await folded.locator('summary').focus()
  await page.keyboard.press('Enter')
  check((await folded.evaluate((details) => details.open)) !== before, `${name}: Enter unfolds`)
  const tree = await page.locator('body').ariaSnapshot()
  check(!tree.includes('- img\n'), `${name}: every picture has a name`)
  check(!tree.includes('- table:\n'), `${name}: every table has a name`)
  check(tree.includes('heading "Read these numbers with care"') || tree.includes('speaks against'),
    `${name}: the state of the machine is told`)
  await page.context().close()
}

async function checkPrint(browser, name, file) {
  const options = { viewport: { width: 700, height: 1000 }, colorScheme: 'dark' }
  const page = await opened(browser, file, options, { media: 'print' })
  const hidden = await page.evaluate(() =>
    [...document.querySelectorAll('details table, details svg')]
      .filter((element) => element.getBoundingClientRect().height < 5).length)
  check(hidden === 0, `${name}, print: ${hidden} tables and pictures stay folded`)
  const back = await page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  check(back === 'rgb(255, 255, 255)', `${name}, print: paper is ${back}`)
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
  check(over <= 0, `${name}, print: ${over} pixels too wide`)
  const paper = await page.pdf({ format: 'A4', ...(pictures && { path: join(pictures, `${name}.pdf`) }) })
  check(paper.subarray(0, 5).toString() === '%PDF-', `${name}: prints`)
  await page.context().close()
}

if (pictures) mkdirSync(pictures, { recursive: true })
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
const names = readdirSync(folder).filter((name) => name.endsWith('.html')).sort()
check(names.length > 0, `${folder} has pages`)
for (const file of names) {
  const before = failures
  const path = resolve(folder, file)
  const name = file.slice(0, -'.html'.length)
  for (const look of Object.keys(LOOKS)) await checkLook(browser, name, path, look)
  await checkKeyboard(browser, name, path)
  await checkPrint(browser, name, path)
  console.log(`${file}: ${failures === before ? 'all holds' : `${failures - before} not so`}`)
}
await browser.close()
process.exit(failures ? 1 : 0)
