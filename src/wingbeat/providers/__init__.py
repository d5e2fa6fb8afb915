"""Pure codecs, one a service: a request becomes HTTP, a reply becomes a completion or a failure."""
