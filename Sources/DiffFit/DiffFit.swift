// All of the library in one import; `DiffFit.docc` describes it.
@_exported import AdapterStore
@_exported import DiffFitSampling
@_exported import DiffFitTraining
@_exported import TensorFiles
