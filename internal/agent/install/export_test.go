package install

// What the package's tests look at.
var RunsAnother = runsAnother
