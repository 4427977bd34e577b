"""Statistics for every job: bootstrap over patients, DeLong, ranking metrics, intervals."""
