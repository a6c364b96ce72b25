package database

// TooMany warns of members that no votes are for.
var TooMany = tooMany
