import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Base64;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.crypto.KeyAccessDeniedException;
import org.apache.parquet.crypto.ParquetCryptoRuntimeException;
import org.apache.parquet.crypto.keytools.KmsClient;

/**
 * The agent as the key service of parquet-java and Spark, with a token of the scope kms. The id of the "KMS instance" is that of the
 * dataset. A column that the token does not cover is hidden; the others read. See spark-defaults.conf.
 */
public class ColdframeKms implements KmsClient {
  private static final Pattern KEY = Pattern.compile("\"key\":\"([A-Za-z0-9+/=]+)\"");

  private final HttpClient http = HttpClient.newHttpClient();
  private String url, dataset, token;

  @Override
  public void initialize(Configuration conf, String kmsInstanceID, String kmsInstanceURL, String accessToken) {
    dataset = kmsInstanceID;
    url = kmsInstanceURL;
    token = accessToken;
  }

  @Override
  public byte[] unwrapKey(String wrappedKey, String masterKeyIdentifier) {
    if (!(masterKeyIdentifier + wrappedKey).matches("[A-Za-z0-9+/=-]+")) { // from the file, and it goes into JSON
      throw new ParquetCryptoRuntimeException("not a key of Coldframe");
    }
    String body = String.format("{\"dataset\":\"%s\",\"key_id\":\"%s\",\"wrapped_key\":\"%s\"}", dataset, masterKeyIdentifier, wrappedKey);
    HttpRequest request = HttpRequest.newBuilder(URI.create(url + "/v1/kms/unwrap")).version(HttpClient.Version.HTTP_1_1)
        .header("Authorization", "Bearer " + token).header("Content-Type", "application/json")
        .POST(HttpRequest.BodyPublishers.ofString(body)).build();
    try {
      var answer = http.send(request, BodyHandlers.ofString());
      if (answer.statusCode() == 403) {
        throw new KeyAccessDeniedException("the token does not cover this column");
      }
      Matcher key = KEY.matcher(answer.body());
      if (answer.statusCode() != 200 || !key.find()) {
        throw new ParquetCryptoRuntimeException("the agent answered " + answer.statusCode() + ": " + answer.body());
      }
      return Base64.getDecoder().decode(key.group(1));
    } catch (IOException e) {
      throw new ParquetCryptoRuntimeException("the agent cannot be asked", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new ParquetCryptoRuntimeException("interrupted", e);
    }
  }

  @Override
  public String wrapKey(byte[] keyBytes, String masterKeyIdentifier) {
    throw new UnsupportedOperationException("Coldframe's files are written by the agent");
  }
}
