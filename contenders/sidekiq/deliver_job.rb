# The job. DeliverJob.perform_at(time, key, revision) schedules it.
require "json"
require "net/http"
require "sidekiq"

class DeliverJob
  include Sidekiq::Job

  def perform(key, revision)
    return if cancelled?(key, revision)

    body = { key: key, revision: revision, worker: ENV.fetch("DUETIME_WORKER") }.to_json
    answer = Net::HTTP.post(URI(ENV.fetch("DUETIME_GATEWAY_URL")), body)
    raise "the gateway answered #{answer.code}" unless answer.code == "204"
  end

  # Sidekiq's way to cancel: https://github.com/sidekiq/sidekiq/wiki/FAQ#how-do-i-cancel-a-sidekiq-job
  def cancelled?(key, revision)
    Sidekiq.redis { |redis| redis.get("newest:#{key}").to_i > revision }
  end

  # Cancels the jobs of the key with an older revision. Returns the newest revision so far; 0 if there was none.
  def self.supersede(key, revision, keep_s: KEEP_S)
    Sidekiq.redis { |redis| redis.eval(SUPERSEDE, keys: ["newest:#{key}"], argv: [revision, keep_s]) }
  end

  # A job may be retried for 20 days after it was due.
  KEEP_S = 30 * 24 * 60 * 60
  # One command, because several clients may change a key at the same time.
  SUPERSEDE = <<~LUA
    local newest = tonumber(redis.call("get", KEYS[1]) or 0)
    if tonumber(ARGV[1]) > newest then
      local left_s = redis.call("ttl", KEYS[1])
      redis.call("set", KEYS[1], ARGV[1], "EX", math.max(left_s, tonumber(ARGV[2])))
    end
    return newest
  LUA
end
