# The worker, as `rake jobs:work` starts it.
$stdout.sync = true
require_relative "library"
require_relative "deliver_job"

Delayed::Worker.new(quiet: false).start
