// The few types of other modules that this one's functions take and give.
@_exported import DiffFitSampling
@_exported import struct AdapterTraining.TrainingSettings
