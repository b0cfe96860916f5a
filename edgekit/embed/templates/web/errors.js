// The errors of edgekit, named as in Python:
//
//     EdgekitError
//     └── InputError            a file that can't be read
//         └── FormatError       a packed file that breaks the format
//             ├── TruncatedError   ends before a record or stream does
//             ├── ChecksumError    a CRC-32C or the SHA-256 doesn't match
//             ├── VersionError     a newer major version or an unknown feature
//             ├── CorruptError     a value that the specification forbids
//             └── LimitError       larger than a stated limit

export class EdgekitError extends Error {
  get name() {
    return this.constructor.name;
  }
}

export class InputError extends EdgekitError {}

export class FormatError extends InputError {
  /** tensor: the index of the tensor concerned, where there is one. */
  constructor(message, { tensor, cause } = {}) {
    super(tensor === undefined ? message : `${message} (tensor ${tensor})`, { cause });
    this.tensor = tensor;
  }
}

export class TruncatedError extends FormatError {}
export class ChecksumError extends FormatError {}
export class VersionError extends FormatError {}
export class CorruptError extends FormatError {}
export class LimitError extends FormatError {}
