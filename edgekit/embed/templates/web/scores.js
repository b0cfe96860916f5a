// From a network's output to the likeliest classes.

/** Class numbers and probabilities of the `count` highest scores, best first. */
export function likeliest(scores, count) {
  const shares = probabilities(scores);
  return Array.from(shares, (share, index) => ({ index, share }))
    .sort((a, b) => b.share - a.share || a.index - b.index)
    .slice(0, count);
}

/** Scores as they are where they are probabilities already, else their softmax. */
function probabilities(scores) {
  const sum = scores.reduce((total, score) => total + score, 0);
  if (Math.abs(sum - 1) < 1e-3 && scores.every((score) => score >= 0)) return scores;
  const highest = scores.reduce((most, score) => Math.max(most, score), -Infinity);
  const powers = Float64Array.from(scores, (score) => Math.exp(score - highest));
  const total = powers.reduce((all, power) => all + power, 0);
  return powers.map((power) => power / total);
}
