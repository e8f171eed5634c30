# The worker that looks often, and goes on with the jobs of its predecessor.
$stdout.sync = true
require_relative "library"
require_relative "deliver_job"

class DeliverJob
  def reschedule_at(now, _attempts)
    now + 1
  end
end

Delayed::Worker.sleep_delay = 0.5
Delayed::Worker.max_run_time = 4.seconds
Delayed::Worker.destroy_failed_jobs = false
worker = Delayed::Worker.new(quiet: false)
# "Workers can safely resume working on tasks which are locked by themselves."
worker.name = ENV.fetch("DUETIME_WORKER")
worker.start
