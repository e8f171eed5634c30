# The job. Delayed::Job.enqueue(DeliverJob.new(key, revision), run_at: time) schedules it from Ruby.
require "json"
require "net/http"

DeliverJob = Struct.new(:key, :revision) do
  def perform
    body = { key: key, revision: revision, worker: ENV.fetch("DUETIME_WORKER") }.to_json
    answer = Net::HTTP.post(URI(ENV.fetch("DUETIME_GATEWAY_URL")), body)
    raise "the gateway answered #{answer.code}" unless answer.code == "204"
  end
end
