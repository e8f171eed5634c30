# The job: sidekiq -r worker.rb
require "json"
require "net/http"
require "sidekiq"

class DeliverJob
  include Sidekiq::Worker

  def perform(key, revision)
    body = { key: key, revision: revision, worker: ENV.fetch("DUETIME_WORKER") }.to_json
    answer = Net::HTTP.post(URI(ENV.fetch("DUETIME_GATEWAY_URL")), body)
    raise "the gateway answered #{answer.code}" unless answer.code == "204"
  end
end

Sidekiq.configure_server do |config|
  config.on(:startup) { warn "#{ENV.fetch('DUETIME_WORKER')} is ready" }
  # The average of the random intervals at which the processes together look for due jobs.
  config.options[:poll_interval_average] = Float(ENV["POLL_INTERVAL_S"]) if ENV["POLL_INTERVAL_S"]
end
