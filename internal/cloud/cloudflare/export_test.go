package cloudflare

// ParseHealth is parseHealth, for tests.
var ParseHealth = parseHealth
