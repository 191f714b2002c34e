/// The version of this package: both programs, every picture and every run's folder say it, and a release's tag is it.
package let packageVersion = "0.1.0"
