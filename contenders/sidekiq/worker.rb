# The server: sidekiq -r ./worker.rb
require_relative "deliver_job"

Sidekiq.configure_server do |config|
  config.on(:startup) { warn "#{ENV.fetch("DUETIME_WORKER")} is ready" }
end
