// The few types of other modules that this one's functions take and give.
@_exported import AdapterStore
@_exported import enum Diffusion.Sampler
@_exported import enum Diffusion.GuidanceKind
@_exported import enum TensorMath.Precision
@_exported import enum AdapterFormat.DecoderKind
@_exported import struct AdapterFormat.Digest
