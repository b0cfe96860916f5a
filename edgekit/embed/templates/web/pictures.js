// From pixels to a network's input, by the same arithmetic as calibration used in Python.
//
//   picture --resize--> shorter side --centre crop--> height x width --scale--> (x/255 - mean)/std
//
// Shrinking averages over all pixels that an output pixel covers (a triangle filter as wide as the
// step, in fixed point), as Pillow's BILINEAR does to a level of 255. Canvases shrink in a way of
// their own in every browser.

const FRACTION = 2 ** 22; // of the filter's weights
const BRIGHTNESS = [0.299, 0.587, 0.114];

/**
 * One input without its batch axis, and its shape.
 *
 * pixels: { data, width, height } with red, green, blue and alpha, as a canvas gives them.
 * settings: `preprocess` of model.json.
 */
export function prepare(pixels, settings) {
  const { width, height, channels, mean, std, layout } = settings;
  const rgb = resize(pixels, settings);
  const depth = mean.length;
  const plane = width * height;
  const input = new Float32Array(depth * plane);
  const [pixelStep, channelStep] = layout === "nchw" ? [1, plane] : [depth, 1];
  for (let channel = 0; channel < depth; channel++) {
    const source = channels === "bgr" ? 2 - channel : channel;
    // In float32 at every step, as numpy computes it.
    const middle = Math.fround(mean[channel]);
    const spread = Math.fround(std[channel]);
    for (let pixel = 0; pixel < plane; pixel++) {
      const value = channels === "gray" ? brightness(rgb, 3 * pixel) : rgb[3 * pixel + source];
      const shifted = Math.fround(Math.fround(value / 255) - middle);
      input[pixel * pixelStep + channel * channelStep] = shifted / spread;
    }
  }
  return { input, shape: layout === "nchw" ? [depth, height, width] : [height, width, depth] };
}

function brightness(rgb, at) {
  let sum = 0;
  for (let channel = 0; channel < 3; channel++) {
    sum = Math.fround(sum + Math.fround(rgb[at + channel] * Math.fround(BRIGHTNESS[channel])));
  }
  return sum;
}

/** (height, width, 3) bytes, stretched, or scaled and cut from the centre. */
function resize(pixels, { width, height, resize: shorter }) {
  let [wide, high] = [width, height];
  if (shorter) {
    const least = Math.min(pixels.width, pixels.height);
    wide = roundEven((pixels.width * shorter) / least);
    high = roundEven((pixels.height * shorter) / least);
  }
  const columns = taps(pixels.width, wide, Math.floor((wide - width) / 2), width);
  const rows = taps(pixels.height, high, Math.floor((high - height) / 2), height);
  const across = { stride: 4, lines: pixels.height, lineStep: pixels.width, pixelStep: 1 };
  const narrow = filter(pixels.data, across, columns, { toLine: width, toPixel: 1 });
  const down = { stride: 3, lines: width, lineStep: 1, pixelStep: width };
  return filter(narrow, down, rows, { toLine: 1, toPixel: width });
}

/**
 * For each of `count` outputs from `first` on, of `size` that `source` pixels are scaled to: the
 * pixels that it averages and their weights.
 */
function taps(source, size, first, count) {
  const step = source / size;
  const reach = Math.max(step, 1);
  return Array.from({ length: count }, (_, index) => {
    const centre = (first + index + 0.5) * step;
    const from = Math.max(0, Math.trunc(centre - reach + 0.5));
    const to = Math.min(source, Math.trunc(centre + reach + 0.5));
    const shares = Float64Array.from({ length: to - from }, (_, place) =>
      Math.max(0, 1 - Math.abs((from + place - centre + 0.5) / reach)),
    );
    const sum = shares.reduce((total, share) => total + share, 0);
    return { from, weights: shares.map((share) => Math.trunc(0.5 + (share / sum) * FRACTION)) };
  });
}

/**
 * Averages along one axis; red, green and blue come out, row by row. `lines` are filtered alike;
 * `lineStep` and `pixelStep` lead from one line, and from one pixel of a line, to the next.
 */
function filter(data, { stride, lines, lineStep, pixelStep }, outputs, { toLine, toPixel }) {
  const result = new Uint8ClampedArray(3 * lines * outputs.length);
  for (let line = 0; line < lines; line++) {
    for (let index = 0; index < outputs.length; index++) {
      const { from, weights } = outputs[index];
      let red = FRACTION / 2;
      let green = red;
      let blue = red;
      for (let place = 0; place < weights.length; place++) {
        const at = stride * (line * lineStep + (from + place) * pixelStep);
        red += data[at] * weights[place];
        green += data[at + 1] * weights[place];
        blue += data[at + 2] * weights[place];
      }
      const at = 3 * (line * toLine + index * toPixel);
      result[at] = Math.floor(red / FRACTION);
      result[at + 1] = Math.floor(green / FRACTION);
      result[at + 2] = Math.floor(blue / FRACTION);
    }
  }
  return result;
}

/** The nearest whole number, of two the even one, as Python rounds. */
function roundEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 ? below + 1 : below;
}
