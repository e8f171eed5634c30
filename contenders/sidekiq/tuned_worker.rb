# The server with a shorter time to the next attempt: sidekiq -C tuned.yml -r ./tuned_worker.rb
require_relative "worker"

# Sidekiq adds up to 10 s for each attempt. The default is at least 15 s.
DeliverJob.sidekiq_retry_in { 1 }
